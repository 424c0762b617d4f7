"""The training loop of both networks.

It takes care of precision, accumulation, several processes, checkpoints, signals, history and
logging. A training brings its model, samples, loss and settings.
"""

import argparse
import contextlib
import csv
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from timm.layers import convert_sync_batchnorm
from torch import nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import default_collate
from torch.utils.tensorboard import SummaryWriter

from i2crc.data.transforms import Preprocessing
from i2crc.models.backbones import memory_format
from i2crc.models.weight_files import save_weights
from i2crc.runtime.atomic import atomic_path, digest_file, write_json
from i2crc.runtime.errors import InputError, counted, listing
from i2crc.runtime.log import LogFile, log, log_to
from i2crc.runtime.parallel import no_interrupts
from i2crc.runtime.progress import clock, status
from i2crc.runtime.signals import STOPPING, Stopped
from i2crc.training import distributed, torchrun
from i2crc.training.checkpoint import forget_runs, read_checkpoint, write_checkpoint
from i2crc.training.optim import build_optimizer, learning_rate_factor, parameter_groups
from i2crc.training.options import Plan
from i2crc.training.precision import (
    LEAST_GAIN,
    PRECISIONS,
    choose_precision,
    has_bf16_units,
    seconds_of_steps,
)
from i2crc.training.samples import Batch, Samples, batches_per_epoch, make_loader

PICTURED_IMAGES = 4
# Seconds between two times that a training waits for the device to read the loss.
READ_SECONDS = {"cpu": 0.0, "cuda": 1.0}


class TrainingError(InputError):
    """The training cannot go on; the message says at which iteration, with which images and why."""


def start(arguments: argparse.Namespace, plan: Plan, images: int) -> torch.device:
    """Start the processes of a training on `images`; return the device of this one.

    On the CPU the number of threads decides how sums are rounded. With `deterministic`, the
    training therefore uses the configured number of threads, even on fewer cores.
    """
    gpus, threads, nodes = arguments.gpus, arguments.threads, plan.runtime.nodes
    # A process without a photograph would have nothing to do.
    most = min(plan.settings.batch_size, images)
    torchrun.launch(gpus, arguments.processes, nodes, threads, most)
    threads = plan.runtime.training_threads if plan.deterministic else threads
    return distributed.start(gpus, threads, plan.deterministic)


@dataclass(frozen=True)
class UnreadStep:
    """A step of the optimiser: the loss terms, on the device, and image ids of each batch."""

    iteration: int
    learning_rate: float
    batches: list[tuple[dict[str, torch.Tensor], list[str]]]


@dataclass(frozen=True)
class Validation:
    """A score, in 0..1, of a network in evaluation mode, computed `times` times while it trains.

    `name` is that of the score in the history, `images` is the number of its photographs. If it
    `chooses`, the weights with the highest score are the result, not the last ones.
    """

    name: str
    images: int
    times: int
    score: Callable[[nn.Module, Preprocessing], float]
    chooses: bool = False

    def is_due(self, iteration: int, iterations: int) -> bool:
        """Return whether the network is scored after an iteration, as it is after the last one."""
        return iteration * self.times // iterations > (iteration - 1) * self.times // iterations


@dataclass
class TrainingRun:
    """One training: it writes `plan.weights` and `plan.history`.

    `head` is the prefix of the names of the head's parameters, such as `extra_convs`.
    """

    plan: Plan
    device: torch.device
    model: nn.Module
    head: str
    samples: Samples
    validation: Validation | None = None

    def __post_init__(self) -> None:
        self.settings = self.plan.settings
        order = memory_format(self.model, self.device)
        self.model.to(self.device, memory_format=order)  # type: ignore[call-overload]
        groups = parameter_groups(self.model, self.head, self.settings.optimizer)
        self.optimizer = build_optimizer(groups, self.settings.optimizer)
        self.average = AveragedModel(self.model) if self.settings.average_last else None
        self.compute_in(choose_precision(self.settings.precision, self.device))
        self.iteration = self.first_iteration = 0
        self.history: list[dict[str, float]] = []
        self.unread: list[UnreadStep] = []
        self.validated: dict[int, float] = {}  # iteration -> score
        self.best: dict[str, torch.Tensor] | None = None
        self.start = datetime.now(UTC).isoformat(timespec="seconds")
        self.seconds_before, self.begin = 0.0, time.monotonic()
        self.logged = self.read_at = self.stepping = self.begin

    def compute_in(self, precision: str) -> None:
        """Set the type that this training computes in, a key of PRECISIONS."""
        self.precision = precision
        torch.backends.cudnn.allow_tf32 = precision == "tf32"
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "fp16")

    def settle_precision(self) -> None:
        """Let a CPU with bf16 units compute in bf16 if that is faster (`precision: auto`).

        The first process decides for all. A deterministic training does not depend on a
        measurement.
        """
        is_auto = self.settings.precision == "auto" and self.device.type == "cpu"
        if self.plan.deterministic or not is_auto:
            return
        [lacks_units] = distributed.any_process(not has_bf16_units())
        if lacks_units:
            return
        with self._trial() as images:
            self.train_mode()

            def step(precision: str) -> None:
                self.precision = precision
                self._try(self.model, images)

            fp32, bf16 = seconds_of_steps(step)
        pays = distributed.is_main() and fp32 > LEAST_GAIN * bf16
        self.compute_in("bf16" if distributed.any_process(pays)[0] else "fp32")
        log.info(
            "precision %s: forward and backward of a batch take %.3g s in fp32, %.3g s in bf16",
            *(self.precision, fp32, bf16),
        )

    def train(self, facts: dict[str, Any]) -> None:
        """Train to the end; `facts` become metadata of the weights.

        An interrupted run of the same fingerprint is continued. SIGTERM and SIGINT save a
        checkpoint and raise Stopped. Raise TrainingError, with the ids of the images, if the loss
        is not finite; what was saved before stays.
        """
        self.plan.folder.mkdir(parents=True, exist_ok=True)
        if distributed.is_main():
            # Snakemake keeps only the log of the last attempt.
            attempt = len(list(self.plan.folder.glob("attempt-*.log"))) + 1
            log_to(LogFile(self.plan.folder / f"attempt-{attempt}.log"))
        images = counted(len(self.samples), "image")
        log.info("%s, weights from %s", images, facts["weights"]["source"])
        self.resume()
        self.loop()
        if distributed.is_main():
            self.finish(facts)
        if dist.is_initialized():
            dist.destroy_process_group()

    def resume(self) -> None:
        """Continue from the checkpoint of the same fingerprint, if there is an undamaged one."""
        saved = read_checkpoint(self.plan)
        if saved is None:
            self.settle_precision()
            return
        if self.settings.precision == "auto" and self.device.type == "cpu":
            # Another measurement may end differently.
            keeps = saved["precision"] == "bf16" and has_bf16_units()
            self.compute_in("bf16" if keeps else "fp32")
        self.model.load_state_dict(saved["model"])
        if self.average:
            self.average.load_state_dict(saved["average"])
        self.optimizer.load_state_dict(saved["optimizer"])
        # Fused steps take values in the order of memory, and it may be that of another device.
        for parameter, state in self.optimizer.state.items():
            for name, value in state.items():
                if value.shape == parameter.shape:
                    state[name] = torch.empty_like(parameter).copy_(value)
        if saved["scaler"]:  # empty if the run was not in fp16 so far
            self.scaler.load_state_dict(saved["scaler"])
        self.iteration = self.first_iteration = saved["iteration"]
        self.history = saved["history"]
        self.validated, self.best = saved["validated"], saved["best"]
        self.start, self.seconds_before = saved["start"], saved["seconds"]
        log.info("resumed at iteration %d", self.iteration)

    def save(self) -> None:
        """Write a checkpoint; raise TrainingError instead if a weight is not finite."""
        self.check_weights()
        if not distributed.is_main():
            return
        state = {
            "iteration": self.iteration,
            "model": self.model.state_dict(),
            "average": self.average.state_dict() if self.average else None,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "precision": self.precision,
            "history": self.history,
            "validated": self.validated,
            "best": self.best,
            "start": self.start,
            "seconds": self.seconds(),
        }
        write_checkpoint(self.plan, state)

    def check_weights(self) -> None:
        """Raise TrainingError if a weight is not finite, as after gradients that are not."""
        state = self.model.state_dict()
        bad = [name for name, weight in state.items() if not weight.isfinite().all()]
        if bad:
            raise TrainingError(
                f"after iteration {self.iteration} the weights are not finite ({listing(bad, 3)}); "
                "lower the learning rate"
            )

    def result(self) -> nn.Module:
        """Return the network that a training which ended now would keep."""
        if self.average and self.average.n_averaged:
            return self.average.module
        return self.model

    def seconds(self) -> float:
        """Return the seconds spent on this training over all attempts."""
        return round(self.seconds_before + time.monotonic() - self.begin, 3)

    def finish(self, facts: dict[str, Any]) -> None:
        """Write history and weights, then the record that they are finished."""
        self.check_weights()
        plan, origin = self.plan, self.plan.origin
        name = self.validation.name if self.validation else ""
        scores = {iteration: {name: score} for iteration, score in self.validated.items()}
        rows = [{**row, **scores.get(int(row["iteration"]), {})} for row in self.history]
        with atomic_path(plan.history) as temporary, open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[-1]))  # the last iteration is validated
            writer.writeheader()
            writer.writerows(rows)
        origin.device, origin.precision = str(self.device), self.precision
        provenance = origin.lasting(plan.weights)
        del provenance["inputs"]  # they depend on the shards
        network = self.result()
        if self.best:
            chosen = best_of(self.validated)
            provenance["chosen"] = {"iteration": chosen, name: self.validated[chosen]}
            network.load_state_dict(self.best)
            log.info("the weights of iteration %d are kept, with the highest %s", chosen, name)
        metadata = {
            "stage": origin.stage,
            "settings": self.settings.model_dump(),
            "seed": plan.seed,
            "deterministic": plan.deterministic,
            "fingerprint": plan.fingerprint,
            "provenance": provenance,
            **facts,
        }
        save_weights(plan.weights, network, metadata)
        finished = {
            "fingerprint": plan.fingerprint,
            "determined_by": plan.determined_by,
            "start": self.start,
            "seconds": self.seconds(),
            "history_sha256": digest_file(plan.history),
            "weights_sha256": digest_file(plan.weights),
            "weights_bytes": plan.weights.stat().st_size,
            "facts": provenance,  # not "provenance": it is no artifact for `i2crc verify`
            "leaks": facts.get("leaks", []),
        }
        write_json(plan.finished, finished)
        plan.checkpoint.unlink(missing_ok=True)
        forget_runs(plan)
        steps = counted(self.iteration, "iteration")
        log.info("%s, loss %.4g", steps, self.history[-1]["loss"])

    def loop(self) -> None:
        """Train to the last iteration."""
        self.train_mode()
        network = _wrap(self.model, self.settings.batch_norm, self.device)
        if self._is_compiled():
            network = self._compile()
        with no_interrupts():
            on_gpu = self.device.type == "cuda"
            batches = iter(make_loader(self.samples, self.plan, self.iteration, on_gpu))
        board: Any = contextlib.nullcontext()
        if distributed.is_main():
            board = SummaryWriter(self.plan.folder / "tensorboard", purge_step=self.iteration + 1)
        saved = self.stepping = time.monotonic()
        with _remembered_signals() as signals, board:
            while True:
                if validation := self._due_validation():
                    self._validate(validation, board)
                if self.iteration == self.plan.iterations:
                    return
                self.step(network, batches)
                now = time.monotonic()
                stop, due, read = distributed.any_process(
                    bool(signals),
                    now - saved > self.plan.runtime.checkpoint_seconds
                    or bool(self._due_validation()),
                    now - self.read_at >= READ_SECONDS[self.device.type],
                )
                if not (stop or due or read or self._is_pictured()):
                    continue
                rows = self.read()
                if distributed.is_main():
                    self._show(board, rows)
                    self._report()
                if stop or due:
                    self.save()
                    saved = time.monotonic()
                if stop:
                    log.info("checkpoint at iteration %d", self.iteration)
                    raise Stopped(signals[0] if signals else signal.SIGTERM)

    def _is_compiled(self) -> bool:
        """Return whether this training compiles its network; say why not if that is wanted."""
        if not self.plan.runtime.compile:
            return False
        reason = "several processes" if dist.is_initialized() else ""
        reason = "deterministic: true" if self.plan.deterministic else reason
        if reason:
            log.info("runtime.compile is not used with %s", reason)
        return not reason

    def _compile(self) -> nn.Module:
        """Return the compiled model, or the model itself, with a warning, if that fails.

        The gradients of several batches are not added up in a CUDA graph, whose memory is that of
        the batch before.
        """
        log.info("compiling the network, which takes minutes (runtime.compile)")
        mode = "reduce-overhead" if self.settings.accumulate == 1 else "default"
        network: Any = self.model
        with self._trial() as images:
            try:
                compiled: Any = torch.compile(self.model, mode=mode, dynamic=False)
                for _ in range(3):  # a CUDA graph is recorded at the second call, used at the third
                    self._try(compiled, images)
                network = compiled
            except Exception as error:
                reason = str(error).strip().partition("\n")[0] or type(error).__name__
                log.warning("the network is not compiled, and each step takes longer: %s", reason)
        return network

    @contextlib.contextmanager
    def _trial(self) -> Iterator[torch.Tensor]:
        """Yield images of a batch to try the network with, which then is as it was before.

        That is: its weights, the statistics of batch norms, gradients, and random numbers.
        """
        image = self.samples[self.plan.seed, 0, 0]["image"]
        size = min(self.settings.batch_size, len(self.samples)) // distributed.world_size()
        batch = _to_device({"image": torch.stack([image] * max(1, size))}, self.device)
        before = {name: value.clone() for name, value in self.model.state_dict().items()}
        with torch.random.fork_rng([]):
            yield batch["image"]
        self.model.load_state_dict(before)
        self.optimizer.zero_grad(set_to_none=True)

    def _try(self, network: Any, images: torch.Tensor) -> None:
        """Compute outputs and gradients of a batch as a step does."""
        with self._autocast():
            output = network(images)
        scales = [output] if isinstance(output, torch.Tensor) else output
        torch.stack([scale.float().mean() for scale in scales]).sum().backward()
        self.optimizer.zero_grad(set_to_none=True)

    def train_mode(self) -> None:
        """Set the network to training, but for frozen batch norms."""
        self.model.train()
        freezes_all = self.settings.batch_norm == "freeze"
        for module in self.model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                is_frozen = any(not parameter.requires_grad for parameter in module.parameters())
                module.train(not (freezes_all or is_frozen))

    def read(self) -> list[dict[str, float]]:
        """Add the steps since the last call to the history; return their rows.

        This waits for the device. Raise TrainingError if a loss is not finite.
        """
        steps, self.unread = self.unread, []
        terms = [t for step in steps for values, _ in step.batches for t in values.values()]
        numbers = iter(torch.stack(terms).tolist())
        rows = []
        for step in steps:
            row = {"iteration": step.iteration, "learning_rate": step.learning_rate}
            for names, images in step.batches:
                values = dict(zip(names, numbers, strict=False))
                if not np.isfinite(values["loss"]):
                    raise TrainingError(
                        f"the loss is {values['loss']} at iteration {step.iteration}, images "
                        f"{', '.join(distributed.gather(images))} (terms: {values}); look at these "
                        "images, or lower the learning rate"
                    )
                for name, value in values.items():
                    row[name] = row.get(name, 0.0) + value / len(step.batches)
            rows.append(row)
        self.history += rows
        self.read_at = time.monotonic()
        return rows

    def _autocast(self) -> torch.autocast:
        dtype = PRECISIONS[self.precision]
        return torch.autocast(self.device.type, dtype, dtype is not torch.float32)

    def _is_pictured(self) -> bool:
        """Return whether TensorBoard gets pictures of the last iteration."""
        done, every = self.iteration, self.plan.runtime.picture_iterations
        return done % every == 0 or done == self.plan.iterations

    def _due_validation(self) -> Validation | None:
        """Return what this process scores the network with before the next iteration, if it does.

        A stopped run may have left it undone.
        """
        done, validation = self.iteration, self.validation
        if validation is None or not done or done in self.validated or not distributed.is_main():
            return None
        return validation if validation.is_due(done, self.plan.iterations) else None

    def _validate(self, validation: Validation, board: SummaryWriter) -> None:
        """Score the network; if the score chooses, copy the weights with the highest so far."""
        done, name = self.iteration, validation.name
        network = self.result().eval()
        score = validation.score(network, self.samples.preprocessing)
        self.train_mode()
        self.validated[done] = score
        board.add_scalar(name, score, done)
        log.info("iteration %d/%d %s %.4g", done, self.plan.iterations, name, score)
        if validation.chooses and done == best_of(self.validated):
            state = network.state_dict()
            self.best = {key: weight.to("cpu", copy=True) for key, weight in state.items()}

    def _show(self, board: SummaryWriter, rows: list[dict[str, float]]) -> None:
        """Show rows of the history in TensorBoard, now and then with pictures."""
        for row in rows:
            for name, value in row.items():
                if name != "iteration":
                    board.add_scalar(name, value, row["iteration"])
        if not self._is_pictured():
            return
        # Always the same images with the same augmentation.
        numbers = range(min(PICTURED_IMAGES, len(self.samples)))
        batch = default_collate([self.samples[self.plan.seed, 0, number] for number in numbers])
        self.model.eval()
        with torch.no_grad():
            pictures = self.samples.pictures(self.model, _to_device(batch, self.device))
        self.train_mode()
        board.add_images("samples", pictures, self.iteration)

    def _report(self) -> None:
        """Report the last iteration; log it if the interval is over or it is the last one."""
        now, done, total = time.monotonic(), self.iteration, self.plan.iterations
        seconds = (now - self.stepping) / (done - self.first_iteration)
        images = self.settings.batch_size * self.settings.accumulate / seconds
        left = seconds * (total - done)
        status.report("iteration", done, total, images, left)
        if done < total and now - self.logged < self.plan.runtime.log_seconds:
            return
        self.logged = now
        terms = [f"{name} {v:.4g}" for name, v in self.history[-1].items() if name != "iteration"]
        speed = f"{images:.4g} images/s {distributed.memory_gib(self.device):.1f} GiB"
        log.info("iteration %d/%d %s %s ETA %s", done, total, " ".join(terms), speed, clock(left))

    def step(self, network: nn.Module, batches: Iterator[Batch]) -> None:
        """Do one step of the optimiser; `read` adds it to the history."""
        settings = self.settings
        per_epoch = batches_per_epoch(len(self.samples), settings.batch_size)
        epoch = self.iteration * settings.accumulate // per_epoch
        factor = learning_rate_factor(
            settings.schedule, self.iteration, self.plan.iterations, epoch
        )
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        # So that a resumed run draws the random numbers (of dropout) of one without interruption.
        drawn = np.random.default_rng([self.plan.seed, self.iteration, distributed.rank()])
        torch.manual_seed(int(drawn.integers(2**63)))
        done = []
        for part in range(settings.accumulate):
            batch = next(batches)
            last = part == settings.accumulate - 1
            done.append((self._backward(network, batch, synchronise=last), batch["id"]))
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.iteration += 1
        if self.average and self.iteration > (1 - settings.average_last) * self.plan.iterations:
            self.average.update_parameters(self.model)
        rate = settings.optimizer.learning_rate * factor
        self.unread.append(UnreadStep(self.iteration, rate, done))

    def _backward(self, network: Any, batch: Batch, synchronise: bool) -> dict[str, torch.Tensor]:
        """Add the gradients of one batch; return its loss terms, averaged over the processes."""
        batch = _to_device(batch, self.device)
        at_once = synchronise or not dist.is_initialized()
        deferred = contextlib.nullcontext() if at_once else network.no_sync()

        with deferred:
            # Only the network: the sums of the losses over whole images overflow in half precision.
            with self._autocast():
                output = network(batch["image"])
            terms = self.samples.loss(output, batch)
            values = {name: distributed.mean_count(v.detach()) for name, v in terms.items()}
            self.scaler.scale(terms["loss"] / self.settings.accumulate).backward()
        return values


def best_of(validated: dict[int, float]) -> int:
    """Return the iteration with the highest score, the last of several."""
    return max(validated, key=lambda iteration: (validated[iteration], iteration))


@contextlib.contextmanager
def _remembered_signals() -> Iterator[list[int]]:
    """Yield a list which gets the signals that ask this process to end, instead of ending it."""
    signals: list[int] = []
    previous = {s: signal.signal(s, lambda number, _: signals.append(number)) for s in STOPPING}
    try:
        yield signals
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _wrap(model: nn.Module, batch_norm: str, device: torch.device) -> nn.Module:
    """Return the model for several processes, if there are several."""
    if not dist.is_initialized():
        return model
    if batch_norm == "train" and device.type == "cuda":
        model = convert_sync_batchnorm(model)  # that of torch drops the activations of timm
    ids = [device.index] if device.type == "cuda" else None
    return nn.parallel.DistributedDataParallel(model, device_ids=ids)


def _to_device(batch: Batch, device: torch.device) -> Batch:
    def moved(value: Any) -> Any:
        return value.to(device, non_blocking=True) if isinstance(value, torch.Tensor) else value

    return {name: moved(value) for name, value in batch.items()}
