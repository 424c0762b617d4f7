"""Training samples: which images a batch holds, and how they are augmented.

That depends only on (seed, epoch, image). So the numbers of workers and processes change nothing,
and a resumed run ends like one that was never interrupted.
"""

import functools
import signal
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from i2crc.data.index import Index
from i2crc.data.transforms import Preprocessing
from i2crc.training import distributed
from i2crc.training.options import Plan

Batch = dict[str, Any]


class Samples(Dataset):
    """Training samples, addressed by (seed, epoch, image number), and their loss.

    A sample is made of the photograph of an entry of `index` and of one of the `files`, which are
    named by image id.
    """

    def __init__(
        self, index: Index, files: dict[str, Path], settings: Any, preprocessing: Preprocessing
    ) -> None:
        self.index, self.files = index, files
        self.settings, self.preprocessing = settings, preprocessing

    def __len__(self) -> int:
        return len(self.index.images)

    def __getitem__(self, position: tuple[int, int, int]) -> Batch:
        # On one thread, as in a worker process: resizing on several rounds differently.
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return self.sample(position[-1], np.random.default_rng(position))
        finally:
            torch.set_num_threads(threads)

    def sample(self, number: int, rng: np.random.Generator) -> Batch:
        """Return tensors and the "id" of an image, augmented with random numbers of `rng`."""
        raise NotImplementedError

    def loss(self, output: Any, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the "loss" of a network's output, and the terms that it is made of."""
        raise NotImplementedError

    def pictures(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Return the images of a batch beside what a network in evaluation mode makes of them.

        The result is (N, 3, H, 3W) in 0..1.
        """
        raise NotImplementedError


def batches_per_epoch(images: int, batch_size: int) -> int:
    """Return the number of full batches of an epoch; its left-over images are not used."""
    return max(1, images // batch_size)


def batch_positions(
    step: int, images: int, batch_size: int, seed: int
) -> list[tuple[int, int, int]]:
    """Return the (seed, epoch, image number) of each sample of the 0-based batch `step`."""
    epoch, position = divmod(step, batches_per_epoch(images, batch_size))
    chosen = _order(images, seed, epoch)[position * batch_size : (position + 1) * batch_size]
    return [(seed, epoch, int(number)) for number in chosen]


@functools.lru_cache(maxsize=1)  # of a million images it takes longer than a batch
def _order(images: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(images)


def loading_workers(setting: int | None, on_gpu: bool) -> int:
    """Return the number of data-loading processes of a training process (`runtime.workers`)."""
    if setting is not None:
        return setting
    return min(8, max(1, torch.get_num_threads() - 1)) if on_gpu else 1


def make_loader(samples: Samples, plan: Plan, done: int, on_gpu: bool) -> DataLoader:
    """Return a loader of this process's part of the batches after `done` steps of the optimiser."""
    settings, rank, processes = plan.settings, distributed.rank(), distributed.world_size()
    batches = range(done * settings.accumulate, plan.iterations * settings.accumulate)
    positions = (
        batch_positions(batch, len(samples), settings.batch_size, plan.seed)[rank::processes]
        for batch in batches
    )
    return DataLoader(
        samples,
        batch_sampler=positions,
        num_workers=loading_workers(plan.runtime.workers, on_gpu),
        pin_memory=on_gpu,
        worker_init_fn=_ignore_termination,
    )


def _ignore_termination(_: int) -> None:
    # The training process decides when to stop. Its workers end with it.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
