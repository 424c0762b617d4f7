"""The training loop of both networks.

It takes care of precision, accumulation, several processes, checkpoints, signals, history and
logging. A training brings its model, samples, loss and settings.
"""

import argparse
import contextlib
import csv
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from timm.layers import convert_sync_batchnorm
from torch import nn
from torch.utils.data import default_collate
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from i2crc.models.checkpoints import save_weights
from i2crc.runtime.atomic import atomic_path, digest_file, write_json
from i2crc.runtime.errors import InputError
from i2crc.runtime.log import LogFile, log, log_to
from i2crc.runtime.parallel import no_interrupts
from i2crc.runtime.progress import Pace
from i2crc.runtime.signals import STOPPING, Stopped
from i2crc.training import distributed, torchrun
from i2crc.training.checkpoint import read_checkpoint, write_checkpoint
from i2crc.training.losses import MeanCount
from i2crc.training.optim import build_optimizer, learning_rate_factor
from i2crc.training.options import Plan
from i2crc.training.sampler import Batch, Samples, batches_per_epoch, make_loader

Terms = dict[str, torch.Tensor]
Forward = Callable[[torch.Tensor], Any]
LossFunction = Callable[[Forward, Batch, MeanCount], Terms]
# Draws what a model in evaluation mode makes of a batch: (N, 3, H, W) in 0..1, a row per image.
Pictures = Callable[[nn.Module, Batch], torch.Tensor]
PICTURED_IMAGES = 4
PRECISION_NAMES = {None: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}


class TrainingError(InputError):
    """The training cannot go on; the message says at which iteration, with which images and why."""


def start(arguments: argparse.Namespace, plan: Plan) -> torch.device:
    """Start the processes of a training; return the device of this one.

    On the CPU the number of threads decides how sums are rounded. With `deterministic`, the
    training therefore uses the configured number of threads, even on fewer cores.
    """
    runtime = plan.runtime
    torchrun.launch(
        arguments.gpus,
        arguments.processes,
        runtime.nodes,
        arguments.threads,
        plan.settings.batch_size,
    )
    threads = runtime.training_threads if plan.deterministic else arguments.threads
    return distributed.start(arguments.gpus, threads, plan.deterministic)


def seed_everything(seed: int) -> None:
    """Seed torch, numpy and random."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def train(
    plan: Plan,
    device: torch.device,
    model: nn.Module,
    groups: list[dict[str, Any]],
    samples: Samples,
    loss: LossFunction,
    pictures: Pictures,
    facts: dict[str, Any],
) -> None:
    """Train `model`, and write `plan.weights` (with `facts` as metadata) and `plan.history`.

    `groups` are the parameter groups of `parameter_groups`. An interrupted run of the same
    fingerprint is continued. SIGTERM and SIGINT save a checkpoint and raise Stopped. Raise
    TrainingError, with the ids of the images, if the loss is not finite.
    """
    plan.folder.mkdir(parents=True, exist_ok=True)
    if distributed.is_main():
        # Snakemake keeps only the log of the last attempt.
        attempt = len(list(plan.folder.glob("attempt-*.log"))) + 1
        log_to(LogFile(plan.folder / f"attempt-{attempt}.log"))
    run = _TrainingRun(plan, device, model, groups, samples, loss, pictures)
    run.resume()
    run.loop()
    if distributed.is_main():
        run.write_history()
        write_json(plan.duration, {"start": run.start, "seconds": round(run.seconds(), 3)})
        # Last, because the weights say that the run is finished.
        save_weights(plan.weights, model, {**_metadata(plan, device), **facts})
        plan.checkpoint.unlink(missing_ok=True)
    distributed.finish()


def _metadata(plan: Plan, device: torch.device) -> dict[str, Any]:
    """Return the metadata of the weights, which is the same for any number of shards."""
    origin = plan.origin
    origin.device = str(device)
    origin.precision = PRECISION_NAMES[autocast_dtype(plan.settings.precision, device)]
    provenance = {k: v for k, v in origin.lasting(plan.weights).items() if k != "inputs"}
    return {
        "stage": origin.stage,
        "settings": plan.settings.model_dump(),
        "seed": plan.seed,
        "deterministic": plan.deterministic,
        "fingerprint": plan.fingerprint,
        "history_sha256": digest_file(plan.history),
        "provenance": provenance,
    }


class _TrainingRun:
    """One training in progress."""

    def __init__(
        self,
        plan: Plan,
        device: torch.device,
        model: nn.Module,
        groups: list[dict[str, Any]],
        samples: Samples,
        loss: LossFunction,
        pictures: Pictures,
    ) -> None:
        self.plan, self.samples = plan, samples
        self.loss, self.pictures = loss, pictures
        self.start = datetime.now(UTC).isoformat(timespec="seconds")
        self.seconds_before, self.begin = 0.0, time.monotonic()
        self.settings, self.device = plan.settings, device
        # torch's annotations leave memory_format out.
        move: Callable[..., nn.Module] = model.to
        self.model = move(self.device, memory_format=torch.channels_last)
        self.optimizer = build_optimizer(groups, self.settings.optimizer)
        self.dtype = autocast_dtype(self.settings.precision, self.device)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.dtype is torch.float16)
        self.iteration = 0
        self.history: list[dict[str, float]] = []
        self.stop_signal = 0

    def resume(self) -> None:
        """Continue from the checkpoint of the same fingerprint, if there is an undamaged one."""
        saved = read_checkpoint(self.plan)
        if saved is None:
            return
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        if saved["scaler"]:  # empty if the run was not in fp16 so far
            self.scaler.load_state_dict(saved["scaler"])
        self.iteration = saved["iteration"]
        self.history = saved["history"]
        self.start, self.seconds_before = saved["start"], saved["seconds"]
        # The run may have had fewer processes so far.
        random_states = saved["random"][distributed.rank() : distributed.rank() + 1]
        for state in random_states:
            torch.set_rng_state(state["cpu"])
            if self.device.type == "cuda" and "cuda" in state:
                torch.cuda.set_rng_state(state["cuda"], self.device)
        log.info("resumed at iteration %d", self.iteration)

    def save(self) -> None:
        """Write a checkpoint."""
        random_states = _gather_random_states(self.device)
        if distributed.is_main():
            state = {
                "iteration": self.iteration,
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
                "history": self.history,
                "random": random_states,
                "start": self.start,
                "seconds": self.seconds(),
            }
            write_checkpoint(self.plan, state)

    def seconds(self) -> float:
        """Return the seconds spent on this training over all attempts."""
        return self.seconds_before + time.monotonic() - self.begin

    def write_history(self) -> None:
        """Write the history as CSV, a row per iteration."""
        with atomic_path(self.plan.history) as temporary, open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, list(self.history[0]) if self.history else ["iteration"])
            writer.writeheader()
            writer.writerows(self.history)

    def loop(self) -> None:
        """Train to the last iteration."""
        plan = self.plan
        _train_mode(self.model, self.settings.batch_norm)
        network = _wrap(self.model, self.settings.batch_norm, self.device)
        with no_interrupts():
            first, last = (n * self.settings.accumulate for n in (self.iteration, plan.iterations))
            loader = make_loader(
                self.samples,
                range(first, last),
                self.settings.batch_size,
                plan.seed,
                plan.runtime.workers,
                pin_memory=self.device.type == "cuda",
            )
            batches = iter(loader)
        board = None
        if distributed.is_main():
            board = SummaryWriter(plan.folder / "tensorboard", purge_step=self.iteration)
        progress = _Progress(plan, self.device, self.iteration)
        saved = time.monotonic()
        with _signals(self), contextlib.closing(board) if board else contextlib.nullcontext():
            while self.iteration < plan.iterations:
                row = self._step(network, batches)
                self.history.append(row)
                if board:
                    self._show(board, row)
                progress.show(self.iteration, row)
                stop = distributed.any_process(bool(self.stop_signal), self.device)
                due = time.monotonic() - saved > plan.runtime.checkpoint_seconds
                if stop or distributed.any_process(due, self.device):
                    self.save()
                    saved = time.monotonic()
                if stop:
                    log.info("checkpoint at iteration %d", self.iteration)
                    raise Stopped(self.stop_signal or signal.SIGTERM)

    def _show(self, board: SummaryWriter, row: dict[str, float]) -> None:
        """Show the iteration in TensorBoard, now and then with pictures."""
        for name in row.keys() - {"iteration"}:
            board.add_scalar(name, row[name], self.iteration)
        every = self.plan.runtime.picture_iterations
        if self.iteration % every and self.iteration != self.plan.iterations:
            return
        numbers = range(min(PICTURED_IMAGES, len(self.samples)))
        # Always the same images with the same augmentation. The random numbers are not those of
        # the training, so pictures change nothing in it.
        batch = default_collate(
            [self.samples.sample(n, np.random.default_rng([self.plan.seed, n])) for n in numbers]
        )
        batch = {name: _to_device(value, self.device) for name, value in batch.items()}
        modes = {module: module.training for module in self.model.modules()}
        self.model.eval()
        with torch.no_grad():
            board.add_images("samples", self.pictures(self.model, batch), self.iteration)
        for module, mode in modes.items():
            module.training = mode

    def _step(self, network: nn.Module, batches: Iterator[Batch]) -> dict[str, float]:
        """Do one step of the optimiser; return its row of the history."""
        settings = self.settings
        per_epoch = batches_per_epoch(len(self.samples), settings.batch_size)
        steps_per_epoch = max(1, per_epoch // settings.accumulate)
        factor = learning_rate_factor(
            settings.schedule, self.iteration, self.plan.iterations, steps_per_epoch
        )
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        sums: dict[str, float] = {}
        for part in range(settings.accumulate):
            last = part == settings.accumulate - 1
            terms = self._backward(network, next(batches), synchronise=last)
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + value / settings.accumulate
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.iteration += 1
        rate = settings.optimizer.learning_rate * factor
        return {"iteration": self.iteration, "learning_rate": rate, **sums}

    def _backward(self, network: nn.Module, batch: Batch, synchronise: bool) -> dict[str, float]:
        """Add the gradients of one batch; return its loss terms, averaged over the processes."""
        batch = {name: _to_device(value, self.device) for name, value in batch.items()}
        deferred: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
        if not synchronise and isinstance(network, nn.parallel.DistributedDataParallel):
            deferred = network.no_sync()

        def forward(images: torch.Tensor) -> Any:
            # Only the network: the sums of the losses over whole images overflow in half precision.
            autocast = torch.autocast(
                self.device.type, self.dtype or torch.bfloat16, enabled=self.dtype is not None
            )
            with autocast:
                return network(images)

        with deferred:
            terms = self.loss(forward, batch, distributed.mean_count)
            values = {name: distributed.mean_count(v.detach()).item() for name, v in terms.items()}
            if not np.isfinite(values["loss"]):
                images = ", ".join(distributed.gather(batch["id"]))
                raise TrainingError(
                    f"the loss is {values['loss']} at iteration {self.iteration + 1}, images "
                    f"{images} (terms: {values}); look at these images, or lower the learning rate"
                )
            self.scaler.scale(terms["loss"] / self.settings.accumulate).backward()
        return values


class _Progress:
    """Log lines at an interval, and a live bar if stderr is a terminal."""

    def __init__(self, plan: Plan, device: torch.device, iteration: int) -> None:
        self.device = device
        self.plan, self.start, self.begin = plan, iteration, time.monotonic()
        self.logged = self.begin
        terminal = sys.stderr.isatty() and distributed.is_main()
        self.bar = tqdm(total=plan.iterations, initial=iteration, disable=not terminal)

    def show(self, iteration: int, row: dict[str, float]) -> None:
        """Report an iteration if the interval is over or it is the last one."""
        self.bar.update(1)
        now = time.monotonic()
        last = iteration == self.plan.iterations
        if not distributed.is_main() or not (
            last or now - self.logged >= self.plan.runtime.log_seconds
        ):
            return
        self.logged = now
        seconds = (now - self.begin) / (iteration - self.start)
        images = self.plan.settings.batch_size * self.plan.settings.accumulate / seconds
        left = int(seconds * (self.plan.iterations - iteration))
        terms = " ".join(
            f"{name} {value:.4g}" for name, value in row.items() if name != "iteration"
        )
        pace = Pace("iteration", iteration, self.plan.iterations, images, left)
        log.info(pace.line(terms, f"{distributed.memory_gib(self.device):.1f} GiB"))


@contextlib.contextmanager
def _signals(run: _TrainingRun) -> Iterator[None]:
    """Let signals end the run after the current iteration."""

    def remember(number: int, _: Any) -> None:
        run.stop_signal = number

    previous = {s: signal.signal(s, remember) for s in STOPPING}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def autocast_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """Return the type to compute in, or None for float32 throughout."""
    if precision == "auto":
        if device.type == "cpu":
            return None
        return torch.bfloat16 if torch.cuda.is_bf16_supported(False) else torch.float16
    return {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


def _train_mode(model: nn.Module, batch_norm: str) -> None:
    model.train()
    if batch_norm == "freeze":
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


def _wrap(model: nn.Module, batch_norm: str, device: torch.device) -> nn.Module:
    if not dist.is_initialized():
        return model
    if batch_norm == "train" and device.type == "cuda":
        model = convert_sync_batchnorm(model)  # that of torch drops the activations of timm
    ids = [device.index] if device.type == "cuda" else None
    return nn.parallel.DistributedDataParallel(model, device_ids=ids)


def _to_device(value: Any, device: torch.device) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    memory_format = torch.channels_last if value.ndim == 4 else torch.contiguous_format
    return value.to(device, non_blocking=True, memory_format=memory_format)


def _gather_random_states(device: torch.device) -> list[dict[str, torch.Tensor]]:
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return distributed.gather([state])
