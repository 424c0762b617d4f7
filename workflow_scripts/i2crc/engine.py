"""The one training loop: precision, accumulation, several processes, checkpoint and resume,
signals, history, logging. A stage brings its model, data, loss and schedule.

What a run draws depends on (seed, epoch, image) alone, so workers, processes and interruptions
change nothing: a resumed run ends as one that was never interrupted.
"""

import argparse
import contextlib
import csv
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.distributed as dist
from timm.layers import convert_sync_batchnorm
from torch import nn
from torch.utils.data import DataLoader, Dataset, default_collate
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from i2crc import distributed, torchrun
from i2crc.config import Optimizer, Runtime, Schedule, Training
from i2crc.console import STOPPING, LogFile, Stopped, log, log_to
from i2crc.files import InputError, atomic_path, digest_value, read_json, write_json
from i2crc.job_log import Pace
from i2crc.losses import MeanCount
from i2crc.parallel import no_interrupts
from i2crc.provenance import Origin, write_beside
from i2crc.weights import UNREADABLE, file_metadata, save_weights

Batch = dict[str, Any]
Terms = dict[str, torch.Tensor]
Forward = Callable[[torch.Tensor], Any]
LossFunction = Callable[[Forward, Batch, MeanCount], Terms]
# A model in evaluation mode and a batch to a row of pictures per image, (N, 3, H, W) in 0..1.
Pictures = Callable[[nn.Module, Batch], torch.Tensor]
PICTURED_IMAGES = 4
PRECISION_NAMES = {None: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}


class TrainingError(InputError):
    """The training cannot go on; the message says where and why."""


class Samples(Protocol):
    """Training data: `sample` gives tensors and the image's `id`, drawing only from `rng`."""

    def __len__(self) -> int: ...

    def sample(self, index: int, rng: np.random.Generator) -> Batch: ...


@dataclass(frozen=True)
class Plan:
    """What to train, for how long and where.

    `origin` says what the weights are made of. `fingerprint` stands for everything that determines
    the result: a run folder with another one is started afresh, a finished one with the same is
    used as it is.
    """

    settings: Training
    iterations: int
    seed: int
    deterministic: bool
    origin: Origin
    fingerprint: str
    folder: Path
    runtime: Runtime
    device: torch.device
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def weights(self) -> Path:
        """The finished weights."""
        return self.folder / "weights.safetensors"

    @property
    def duration(self) -> Path:
        """When the finished run was started, and the seconds it took over all its attempts."""
        return self.folder / "duration.json"

    @property
    def history(self) -> Path:
        """Loss terms and learning rate of every iteration."""
        return self.folder / "history.csv"


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that both training scripts have."""
    parser.add_argument("--seed", type=int, default=0)
    distributed.add_deterministic(parser)
    parser.add_argument("--runtime", default="{}", help="JSON: the section `runtime`")
    parser.add_argument("--gpus", type=int, default=0, help="GPUs to use where there are any")
    parser.add_argument("--processes", type=int, default=0, help="processes to use on the CPU")
    parser.add_argument(
        "--run-folder", type=Path, required=True, help="checkpoints, logs; survives a failure"
    )
    parser.add_argument("--weights", type=Path, required=True, help="output: trained weights")
    parser.add_argument("--history", type=Path, required=True, help="output: history as CSV")


def make_plan(
    arguments: argparse.Namespace,
    script: Path,
    settings: Training,
    iterations: int,
    device: torch.device,
    files: list[Path],
    inputs: dict[str, str],
    facts: dict[str, Any],
) -> Plan:
    """The plan of a training script from its command line.

    `files` are what it reads and `inputs` digests of their content, whatever the number of shards;
    `facts` travel with the weights.
    """
    dtype = _autocast_dtype(settings.precision, device)
    precision = PRECISION_NAMES[dtype]
    origin = Origin(script, files, settings, arguments.seed, precision, str(device))
    metadata = {
        "stage": origin.stage,
        "settings": settings.model_dump(),
        "seed": arguments.seed,
        "deterministic": arguments.deterministic,
        **facts,
    }
    fingerprint = digest_value({"origin": origin.key(), "inputs": inputs, **metadata})
    return Plan(
        settings=settings,
        iterations=iterations,
        seed=arguments.seed,
        deterministic=arguments.deterministic,
        origin=origin,
        fingerprint=fingerprint,
        folder=arguments.run_folder,
        runtime=Runtime.model_validate_json(arguments.runtime),
        device=device,
        metadata={**metadata, "provenance": facts_of_weights(origin, arguments.weights)},
    )


def facts_of_weights(origin: Origin, weights: Path) -> dict[str, Any]:
    """The provenance inside of weights: all but the files of the shards, whatever their number."""
    return {key: fact for key, fact in origin.lasting(weights).items() if key != "inputs"}


def start(arguments: argparse.Namespace, batch_size: int) -> torch.device:
    """Choose processes, threads and device.

    On the CPU the number of threads decides how sums are rounded, so with `deterministic` a
    training has those that are configured, on however few cores.
    """
    runtime = Runtime.model_validate_json(arguments.runtime)
    torchrun.launch(
        arguments.gpus, arguments.processes, runtime.nodes, arguments.threads, batch_size
    )
    threads = runtime.training_threads if arguments.deterministic else arguments.threads
    return distributed.start(arguments.gpus, threads, arguments.deterministic)


def seed_everything(seed: int) -> None:
    """Seed torch, numpy and random."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def parameter_groups(model: nn.Module, head: str, optimizer: Optimizer) -> list[dict[str, Any]]:
    """Backbone weights, backbone biases, head weights, head biases, each with its learning rate.

    Parameters whose name begins with `head` are the head's.
    """
    groups = []
    for in_head in (False, True):
        for is_bias in (False, True):
            names = [
                name
                for name, _ in model.named_parameters()
                if name.startswith(head) == in_head and name.endswith("bias") == is_bias
            ]
            rate = optimizer.learning_rate
            rate *= optimizer.head_factor if in_head else 1.0
            rate *= optimizer.bias_factor if is_bias else 1.0
            parameters = [model.get_parameter(name) for name in names]
            groups.append({"names": names, "params": parameters, "lr": rate, "base_lr": rate})
    return groups


def learning_rate_factor(schedule: Schedule, step: int, steps: int, steps_per_epoch: int) -> float:
    """What multiplies the learning rates at 0-based optimiser step `step` of `steps`."""
    if schedule.name == "poly":
        return (1 - schedule.hold * (step // schedule.hold) / steps) ** schedule.power
    epoch = step // steps_per_epoch
    return schedule.gamma ** sum(epoch >= milestone for milestone in schedule.milestones)


def batches_per_epoch(images: int, batch_size: int) -> int:
    """Full batches of one pass; what is left over is drawn anew in the next pass."""
    return max(1, images // batch_size)


def batch_positions(step: int, images: int, batch_size: int, seed: int) -> list[tuple[int, int]]:
    """The (epoch, image number) pairs of the 0-based batch `step`."""
    per_epoch = batches_per_epoch(images, batch_size)
    epoch, position = divmod(step, per_epoch)
    order = np.random.default_rng([seed, epoch]).permutation(images)
    chosen = order[position * batch_size : (position + 1) * batch_size]
    return [(epoch, int(index)) for index in chosen]


def train(
    plan: Plan,
    model: nn.Module,
    groups: list[dict[str, Any]],
    samples: Samples,
    loss: LossFunction,
    pictures: Pictures,
) -> None:
    """Train `model` and leave `plan.weights` and `plan.history`.

    A finished run of the same fingerprint is left as it is; an interrupted one is continued.
    SIGTERM and SIGINT save a checkpoint and end the process with status 128 + signal. A loss that
    is not finite raises TrainingError with the batch's image ids.
    """
    if _finished(plan):
        log.info("already trained: %s", plan.weights)
        _checkpoint(plan).unlink(missing_ok=True)  # a kill may have come before this
        return
    plan.folder.mkdir(parents=True, exist_ok=True)
    if distributed.is_main():
        # The workflow keeps the log of the last attempt alone.
        attempt = len(list(plan.folder.glob("attempt-*.log"))) + 1
        log_to(LogFile(plan.folder / f"attempt-{attempt}.log"))
    run = _Run(plan, model, groups, samples, loss, pictures)
    run.resume()
    run.loop()
    if distributed.is_main():
        run.write_history()
        write_json(plan.duration, {"start": run.start, "seconds": round(run.seconds(), 3)})
        # Last, because it is what says that the run is finished.
        save_weights(plan.weights, model, {**plan.metadata, "fingerprint": plan.fingerprint})
        run.checkpoint_file.unlink(missing_ok=True)


def publish(plan: Plan, weights: Path, history: Path) -> None:
    """Copy the results of a finished run to their declared places, with their provenance."""
    if distributed.is_main():
        duration = read_json(plan.duration) if plan.duration.is_file() else {}
        facts = {
            **plan.origin.lasting(weights),
            **file_metadata(plan.weights)["provenance"],
            **duration,
        }
        for source, target in ((plan.history, history), (plan.weights, weights)):
            with atomic_path(target) as temporary:
                shutil.copyfile(source, temporary)
            write_beside(target, facts)
    distributed.finish()


def _finished(plan: Plan) -> bool:
    if not (plan.weights.is_file() and plan.history.is_file()):
        return False
    try:
        return file_metadata(plan.weights).get("fingerprint") == plan.fingerprint
    except InputError as error:
        log.warning("%s: these weights are damaged, so they are trained again", error)
        return False


def _checkpoint(plan: Plan) -> Path:
    return plan.folder / "checkpoint.pt"


class _Run:
    """One training in progress."""

    def __init__(
        self,
        plan: Plan,
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
        self.settings, self.device = plan.settings, plan.device
        self.model = model.to(self.device, memory_format=torch.channels_last)
        self.optimizer = _optimizer(groups, self.settings.optimizer)
        self.dtype = _autocast_dtype(self.settings.precision, self.device)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.dtype is torch.float16)
        self.iteration = 0
        self.history: list[dict[str, float]] = []
        self.checkpoint_file = _checkpoint(plan)
        self.stop_signal = 0

    def resume(self) -> None:
        """Continue from the checkpoint of the same fingerprint, if there is an undamaged one."""
        if not self.checkpoint_file.is_file():
            return
        try:
            saved = torch.load(self.checkpoint_file, map_location="cpu", weights_only=True)
            fingerprint = saved["fingerprint"]
        except UNREADABLE as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            log.warning(
                "%s: this checkpoint is damaged (%s), so the training starts from its beginning",
                self.checkpoint_file, reason,
            )  # fmt: skip
            return
        if fingerprint != self.plan.fingerprint:
            log.info("the checkpoint is of other settings, code or data: starting afresh")
            return
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        if saved["scaler"]:  # empty where the run was not in fp16 so far
            self.scaler.load_state_dict(saved["scaler"])
        self.iteration = saved["iteration"]
        self.history = saved["history"]
        self.start, self.seconds_before = saved["start"], saved["seconds"]
        random_states = saved["random"][distributed.rank() : distributed.rank() + 1]
        for state in random_states:
            torch.set_rng_state(state["cpu"])
            if self.device.type == "cuda" and "cuda" in state:
                torch.cuda.set_rng_state(state["cuda"], self.device)
        log.info("resumed at iteration %d", self.iteration)

    def save(self) -> None:
        """Write a checkpoint."""
        states = _gather_random_states(self.device)
        if not distributed.is_main():
            return
        content = {
            "fingerprint": self.plan.fingerprint,
            "iteration": self.iteration,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "history": self.history,
            "random": states,
            "start": self.start,
            "seconds": self.seconds(),
        }
        # Through Python's own file: torch's tells of a full disk without its cause.
        with atomic_path(self.checkpoint_file) as temporary, open(temporary, "wb") as file:
            torch.save(content, file)
        self.write_history()

    def seconds(self) -> float:
        """Time spent on this training, over all attempts."""
        return self.seconds_before + time.monotonic() - self.begin

    def write_history(self) -> None:
        """Write the history so far as CSV."""
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
            batches = iter(self._loader())
        board = None
        if distributed.is_main():
            board = SummaryWriter(plan.folder / "tensorboard", purge_step=self.iteration)
        progress = _Progress(plan, self.iteration)
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
        for name in row.keys() - {"iteration"}:
            board.add_scalar(name, row[name], self.iteration)
        every = self.plan.runtime.picture_iterations
        if self.iteration % every and self.iteration != self.plan.iterations:
            return
        numbers = range(min(PICTURED_IMAGES, len(self.samples)))
        # Always the same images, seen the same way; nothing random is drawn from the training.
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
        batch = {name: _to_device(value, self.device) for name, value in batch.items()}
        deferred = not synchronise and isinstance(network, nn.parallel.DistributedDataParallel)

        def forward(images: torch.Tensor) -> Any:
            # The network alone: sums over whole images overflow in half precision.
            autocast = torch.autocast(
                self.device.type, self.dtype or torch.bfloat16, enabled=self.dtype is not None
            )
            with autocast:
                return network(images)

        with network.no_sync() if deferred else contextlib.nullcontext():
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

    def _loader(self) -> DataLoader:
        settings, plan = self.settings, self.plan
        first, last = (n * settings.accumulate for n in (self.iteration, plan.iterations))
        count = len(self.samples)
        batches = [
            batch_positions(step, count, settings.batch_size, plan.seed)[
                distributed.rank() :: distributed.world_size()
            ]
            for step in range(first, last)
        ]
        return DataLoader(
            _Positions(self.samples, plan.seed),
            batch_sampler=batches,
            num_workers=plan.runtime.workers,
            pin_memory=self.device.type == "cuda",
            worker_init_fn=_ignore_termination,
        )


class _Positions(Dataset):
    """Samples addressed by (epoch, image number), each with its own random generator."""

    def __init__(self, samples: Samples, seed: int) -> None:
        self.samples, self.seed = samples, seed

    def __getitem__(self, position: tuple[int, int]) -> Batch:
        epoch, index = position
        # As in a data-loading process: resizing on several threads rounds differently.
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return self.samples.sample(index, np.random.default_rng([self.seed, epoch, index]))
        finally:
            torch.set_num_threads(threads)


class _Progress:
    """Log lines at an interval, and a live bar where there is a terminal."""

    def __init__(self, plan: Plan, iteration: int) -> None:
        self.plan, self.start, self.begin = plan, iteration, time.monotonic()
        self.logged = self.begin
        terminal = sys.stderr.isatty() and distributed.is_main()
        self.bar = tqdm(total=plan.iterations, initial=iteration, disable=not terminal)

    def show(self, iteration: int, row: dict[str, float]) -> None:
        """Report `iteration` if it is time, and always the last one."""
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
        log.info(pace.line(terms, f"{distributed.memory_gib(self.plan.device):.1f} GiB"))


@contextlib.contextmanager
def _signals(run: _Run) -> Iterator[None]:
    def remember(number: int, _: Any) -> None:
        run.stop_signal = number

    previous = {s: signal.signal(s, remember) for s in STOPPING}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _ignore_termination(_: int) -> None:
    # The training process decides when to stop; its workers end with it.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _optimizer(groups: list[dict[str, Any]], settings: Optimizer) -> torch.optim.Optimizer:
    groups = [
        {key: group[key] for key in ("params", "lr", "base_lr")}
        for group in groups
        if group["params"]
    ]
    if settings.name == "adamw":
        return torch.optim.AdamW(groups, weight_decay=settings.weight_decay)
    return torch.optim.SGD(
        groups,
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        weight_decay=settings.weight_decay,
    )


def _autocast_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """The type to compute in, or None for float32 throughout."""
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
        model = convert_sync_batchnorm(model)  # torch's own would drop timm's activations
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
