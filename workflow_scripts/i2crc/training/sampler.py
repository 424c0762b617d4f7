"""Which images a batch holds, and how they are augmented.

That depends only on (seed, epoch, image). So the numbers of workers and processes change nothing,
and a resumed run ends like one that was never interrupted.
"""

import signal
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from i2crc.training import distributed

Batch = dict[str, Any]


class Samples(Protocol):
    """Training samples.

    `sample` returns tensors and the "id" of an image. It draws random numbers only from `rng`.
    """

    def __len__(self) -> int: ...

    def sample(self, index: int, rng: np.random.Generator) -> Batch: ...


def batches_per_epoch(images: int, batch_size: int) -> int:
    """Return the number of full batches of an epoch; its left-over images are not used."""
    return max(1, images // batch_size)


def batch_positions(step: int, images: int, batch_size: int, seed: int) -> list[tuple[int, int]]:
    """Return the (epoch, image number) pairs of the 0-based batch `step`."""
    per_epoch = batches_per_epoch(images, batch_size)
    epoch, position = divmod(step, per_epoch)
    order = np.random.default_rng([seed, epoch]).permutation(images)
    chosen = order[position * batch_size : (position + 1) * batch_size]
    return [(epoch, int(index)) for index in chosen]


def make_loader(
    samples: Samples, batches: range, batch_size: int, seed: int, workers: int, pin_memory: bool
) -> DataLoader:
    """Return a loader of this process's part of the batches with these 0-based numbers."""
    count = len(samples)
    positions = [
        batch_positions(step, count, batch_size, seed)[
            distributed.rank() :: distributed.world_size()
        ]
        for step in batches
    ]
    return DataLoader(
        _Positions(samples, seed),
        batch_sampler=positions,
        num_workers=workers,
        pin_memory=pin_memory,
        worker_init_fn=_ignore_termination,
    )


class _Positions(Dataset):
    """Samples addressed by (epoch, image number), each with its own random generator."""

    def __init__(self, samples: Samples, seed: int) -> None:
        self.samples, self.seed = samples, seed

    def __getitem__(self, position: tuple[int, int]) -> Batch:
        epoch, index = position
        # On one thread, as in a worker process: resizing on several rounds differently.
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return self.samples.sample(index, np.random.default_rng([self.seed, epoch, index]))
        finally:
            torch.set_num_threads(threads)


def _ignore_termination(_: int) -> None:
    # The training process decides when to stop. Its workers end with it.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
