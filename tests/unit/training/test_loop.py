"""The training loop on a network of one layer: precision, schedule, history."""

import csv
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from i2crc.artifacts.lineage import find_artifact
from i2crc.artifacts.provenance import Origin, read_provenance
from i2crc.artifacts.schemas import ProvenanceRecord, checked
from i2crc.config.schema import Optimizer, Runtime, Training
from i2crc.models.backbones import Vgg16, memory_format
from i2crc.models.weight_files import read_state
from i2crc.runtime.atomic import digest_file
from i2crc.runtime.signals import Stopped
from i2crc.training import loop, precision
from i2crc.training.changes import why_again
from i2crc.training.checkpoint import publish, read_finished
from i2crc.training.optim import build_optimizer, parameter_groups
from i2crc.training.options import Plan
from i2crc.training.samples import Samples, loading_workers

CPU = torch.device("cpu")
# Of five iterations: the mean of the last three.
AVERAGED = {"batch_norm": "freeze", "average_last": 0.6}
FACTS: dict = {"weights": {"source": "random"}, "masks_seen": []}


class Pixels(Samples):
    """Eight constant images, and the mean square of the output as their loss."""

    preprocessing = None

    def __init__(self, loss) -> None:
        self.loss = loss

    def __len__(self) -> int:
        return 8

    def sample(self, number: int, rng: np.random.Generator) -> dict:
        return {"id": str(number), "image": torch.full((3, 4, 4), float(number))}

    def pictures(self, model: nn.Module, batch: dict) -> torch.Tensor:
        assert not model.training
        return batch["image"].clamp(0, 1)


def plan(runs, images: str = "images", keep: int = 3, **settings) -> Plan:
    training = Training(batch_size=2, **settings)
    return Plan(
        settings=training,
        iterations=5,
        seed=0,
        deterministic=False,
        origin=Origin(Path(__file__), []),
        determined_by={
            "settings": {"classifier": training.model_dump(), "seed": 0},
            "inputs": {"photographs": images, "code": "code"},
        },
        runs=runs,
        runtime=Runtime(workers=0, keep_trainings=keep),
    )


def squares(output, batch):
    return {"loss": output.square().mean()}


def train(plan: Plan, loss=squares, validation: loop.Validation | None = None) -> None:
    """Train unless that is done already, as the scripts do."""
    if read_finished(plan):
        return
    torch.manual_seed(0)
    model = nn.Sequential(nn.Dropout(), nn.Conv2d(3, 1, 1))
    loop.TrainingRun(plan, CPU, model, "head", Pixels(loss), validation).train(FACTS)


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)]
)
def test_precision_is_of_the_network_alone(tmp_path, precision, dtype):
    """The losses sum over whole images, which half precision cannot."""
    seen = []

    def loss(output, batch):
        seen.append((output.dtype, torch.is_autocast_enabled("cpu")))
        return {"loss": output.float().square().mean()}

    train(plan(tmp_path, precision=precision), loss)
    assert set(seen) == {(dtype, False)}


def test_history_has_every_iteration_and_the_weights_their_fingerprint(tmp_path):
    done = plan(tmp_path, schedule={"name": "poly", "power": 1})
    train(done)
    with open(done.history) as file:
        rows = list(csv.DictReader(file))
    assert [int(row["iteration"]) for row in rows] == [1, 2, 3, 4, 5]
    rates = [float(row["learning_rate"]) for row in rows]
    assert rates == pytest.approx([1e-3 * (1 - n / 5) for n in range(5)])
    metadata = read_state(done.weights)[1]
    assert (metadata["fingerprint"], metadata["masks_seen"]) == (done.fingerprint, [])


def test_a_milestone_counts_epochs_though_no_number_of_steps_is_one(tmp_path):
    """An epoch is four batches, a step three."""
    schedule = {"name": "step", "milestones": [3], "gamma": 0.1}
    done = plan(tmp_path, accumulate=3, schedule=schedule)
    train(done)
    with open(done.history) as file:
        rates = [float(row["learning_rate"]) for row in csv.DictReader(file)]
    assert rates == pytest.approx([1e-3] * 4 + [1e-4])


def test_tensorboard_has_pictures_at_their_interval_and_at_the_end(tmp_path):
    done = plan(tmp_path)
    done = replace(done, runtime=Runtime(workers=0, picture_iterations=2))
    train(done)
    board = EventAccumulator(str(done.folder / "tensorboard"), {"images": 0}).Reload()
    assert [event.step for event in board.Images("samples")] == [2, 4, 5]


def test_a_loss_that_is_not_finite_names_the_images(tmp_path):
    def loss(output, batch):
        return {"loss": output.sum() * float("nan")}

    with pytest.raises(loop.TrainingError, match=r"iteration 1, images \d, \d"):
        train(plan(tmp_path), loss)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_history_is_the_same_however_rarely_the_loss_is_read(tmp_path, monkeypatch, accumulate):
    """As on a GPU, which is read once a second."""
    often, rarely = (plan(tmp_path / name, accumulate=accumulate) for name in ("often", "rarely"))
    train(often)
    reads = []
    whole = loop.TrainingRun.read
    monkeypatch.setattr(loop.TrainingRun, "read", lambda run: reads.append(1) or whole(run))
    monkeypatch.setitem(loop.READ_SECONDS, "cpu", 1000.0)
    train(rarely)
    assert len(reads) == 1
    assert rarely.history.read_bytes() == often.history.read_bytes()
    assert rarely.weights.read_bytes() == often.weights.read_bytes()
    boards = [EventAccumulator(str(p.folder / "tensorboard")).Reload() for p in (often, rarely)]
    first, second = ([(e.step, e.value) for e in b.Scalars("loss")] for b in boards)
    assert first == second and len(first) == 5


def test_a_loss_read_late_names_the_first_bad_iteration_and_keeps_the_checkpoint(
    tmp_path, monkeypatch
):
    interrupted = plan(tmp_path)
    with pytest.raises(Stopped):
        train(interrupted, stop_at(2))
    checkpoint = interrupted.checkpoint.read_bytes()
    monkeypatch.setitem(loop.READ_SECONDS, "cpu", 1000.0)
    seen = []

    def loss(output, batch):
        # The third batch of the whole training is the first of this process.
        seen.append(batch["id"])
        return {"loss": output.square().mean() * (float("nan") if len(seen) > 1 else 1)}

    with pytest.raises(loop.TrainingError) as raised:
        train(interrupted, loss)
    assert f"iteration 4, images {', '.join(seen[1])} " in str(raised.value)
    assert len(seen) == 3  # read at the end only
    assert interrupted.checkpoint.read_bytes() == checkpoint
    assert not interrupted.weights.exists()


@pytest.mark.parametrize("iteration", [2, 5])
def test_weights_that_are_not_finite_are_never_saved(tmp_path, iteration):
    """A gradient may be NaN although the loss is finite."""
    interrupted = plan(tmp_path)
    calls = []

    def loss(output, batch):
        calls.append(1)
        if len(calls) < iteration:
            return squares(output, batch)
        os.kill(os.getpid(), 15)
        return {"loss": (output * 0).square().sum().sqrt()}

    with pytest.raises(loop.TrainingError, match=rf"after iteration {iteration} .*1\.weight"):
        train(interrupted, loss)
    assert not interrupted.checkpoint.exists()
    assert not interrupted.weights.exists()


def networks_trained(runs, compiled: bool) -> dict[str, torch.Tensor]:
    """Train a network with a batch norm; return its weights."""
    one = plan(runs, accumulate=2)
    one = replace(one, runtime=Runtime(workers=0, compile=compiled))
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1))
    loop.TrainingRun(one, CPU, model, "head", Pixels(squares)).train(FACTS)
    return read_state(one.weights)[0]


def test_a_compiled_network_trains_as_one_that_is_not(tmp_path, monkeypatch):
    """Without a compiler: torch's own stand-in traces forward and backward all the same."""
    whole, compiled = torch.compile, []

    def compile_(model, **options):
        compiled.append(options)
        return whole(model, backend="aot_eager")

    monkeypatch.setattr(torch, "compile", compile_)
    plain = networks_trained(tmp_path / "plain", False)
    assert not compiled
    traced = networks_trained(tmp_path / "compiled", True)
    # The memory of a CUDA graph cannot hold the gradients of two batches.
    assert compiled == [{"mode": "default", "dynamic": False}]
    assert plain.keys() == traced.keys()
    for name, value in plain.items():
        torch.testing.assert_close(traced[name], value)


def test_a_network_that_cannot_be_compiled_is_trained_as_it_is(tmp_path, monkeypatch, caplog):
    def compile_(model, **_):
        def call(images):
            model(images)  # the statistics of the batch norm have changed by then
            raise RuntimeError("no compiler\nand a long story")

        return call

    monkeypatch.setattr(torch, "compile", compile_)
    plain = networks_trained(tmp_path / "plain", False)
    with caplog.at_level("WARNING", "i2crc"):
        failed = networks_trained(tmp_path / "failed", True)
    assert "the network is not compiled, and each step takes longer: no compiler" in caplog.text
    assert "long story" not in caplog.text
    assert all(torch.equal(failed[name], value) for name, value in plain.items())


def test_products_in_tf32_are_those_of_a_training_that_asks_for_them(tmp_path):
    run = loop.TrainingRun(plan(tmp_path), CPU, nn.Conv2d(3, 1, 1), "head", Pixels(squares))
    for name in ("tf32", "fp32"):
        run.compute_in(name)
        kinds = (torch.backends.cudnn, torch.backends.cuda.matmul)
        assert [kind.allow_tf32 for kind in kinds] == [name == "tf32"] * 2


def test_tf32_on_a_cpu_is_fp32_and_says_so(tmp_path, caplog):
    done = plan(tmp_path / "run", precision="tf32")
    with caplog.at_level("INFO", "i2crc"):
        assert published(done)[2]["precision"] == "fp32"
    assert "on the CPU the training computes in fp32" in caplog.text


def norms(deterministic: bool = False, **settings) -> loop.TrainingRun:
    """A training whose network has dropout and a batch norm."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 1), nn.Dropout(), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1)]
    one = replace(plan(Path(), **settings), deterministic=deterministic)
    return loop.TrainingRun(one, CPU, nn.Sequential(*layers), "head", Pixels(squares))


@pytest.mark.parametrize("batch_norm", ["train", "freeze"])
def test_a_cpu_with_bf16_units_takes_what_is_faster_and_trying_changes_nothing(
    monkeypatch, caplog, batch_norm
):
    seconds = []

    def measured(step):
        seconds.append(precision.seconds_of_steps(step))
        return seconds[-1]

    monkeypatch.setattr(loop, "has_bf16_units", lambda: True)
    monkeypatch.setattr(loop, "seconds_of_steps", measured)
    run = norms(batch_norm=batch_norm)
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    drawn = torch.get_rng_state()
    with caplog.at_level("INFO", "i2crc"):
        run.settle_precision()
    [(fp32, bf16)] = seconds
    assert run.precision == ("bf16" if fp32 > 1.1 * bf16 else "fp32")
    assert (
        f"precision {run.precision}: forward and backward of a batch take {fp32:.3g} s in fp32, "
        f"{bf16:.3g} s in bf16"
    ) in caplog.text
    assert torch.equal(torch.get_rng_state(), drawn)
    for name, value in run.model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(parameter.grad is None for parameter in run.model.parameters())


def test_steps_that_prepare_kernels_or_are_held_up_do_not_count():
    calls = []

    def step(name):
        calls.append(name)
        if len(calls) in (1, 2, 3, 6):
            time.sleep(0.1)

    fp32, bf16 = precision.seconds_of_steps(step)
    assert max(fp32, bf16) < 0.1
    assert calls == ["fp32", "bf16"] * 4


@pytest.mark.parametrize(
    ("units", "seconds", "taken"),
    [(True, (2.0, 1.0), "bf16"), (True, (1.05, 1.0), "fp32"), (False, None, "fp32")],
)
def test_a_training_computes_in_what_was_measured(tmp_path, monkeypatch, units, seconds, taken):
    chosen = published(plan(tmp_path / "chosen/run", precision=taken))
    monkeypatch.setattr(loop, "has_bf16_units", lambda: units)
    monkeypatch.setattr(loop, "seconds_of_steps", lambda step: step("bf16") or seconds)
    found = published(plan(tmp_path / "auto/run"))
    assert found[1] == chosen[1]  # the history
    assert found[2]["precision"] == chosen[2]["precision"] == taken


@pytest.mark.parametrize(
    "settings", [{"deterministic": True}, {"precision": "fp32"}, {"precision": "bf16"}]
)
def test_nothing_is_measured_where_the_precision_is_given(monkeypatch, settings):
    monkeypatch.setattr(loop, "has_bf16_units", lambda: pytest.fail("measured"))
    run = norms(**settings)
    run.settle_precision()
    assert run.precision == settings.get("precision", "fp32")


@pytest.mark.parametrize(("first", "rest"), [("fp32", "bf16"), ("bf16", "fp32")])
def test_a_resumed_training_keeps_the_precision_that_it_began_with(
    tmp_path, monkeypatch, first, rest
):
    monkeypatch.setattr(loop, "has_bf16_units", lambda: True)
    seconds = {"fp32": (1.0, 2.0), "bf16": (2.0, 1.0)}
    monkeypatch.setattr(loop, "seconds_of_steps", lambda step: seconds[first])
    expected = published(plan(tmp_path / "whole/run"))
    interrupted = plan(tmp_path / "interrupted/run")
    with pytest.raises(Stopped):
        train(interrupted, stop_at(3))
    monkeypatch.setattr(loop, "seconds_of_steps", lambda step: seconds[rest])
    found = published(interrupted)
    assert found[:2] == expected[:2]
    assert found[2]["precision"] == first


@pytest.mark.parametrize(("rank", "taken"), [(0, "fp32"), (1, "bf16")])
def test_the_first_process_decides_for_all(monkeypatch, rank, taken):
    """The other process measured the opposite."""
    monkeypatch.setattr(loop, "has_bf16_units", lambda: True)
    monkeypatch.setattr(loop, "seconds_of_steps", lambda step: (1.0, 1.0 + rank))
    of_first, sent = [[False], [taken == "bf16"]], []

    def any_process(flag):
        sent.append(flag)
        return [flag or of_first[len(sent) - 1][0]]

    monkeypatch.setattr(loop.distributed, "any_process", any_process)
    monkeypatch.setenv("RANK", str(rank))
    run = norms()
    run.settle_precision()
    assert (run.precision, sent) == (taken, [False, False])


def test_the_units_of_this_cpu_are_those_that_torch_finds():
    find = getattr(torch.cpu, "get_capabilities", None)
    if find is None:
        pytest.skip("this torch does not say")
    found = find()
    names = ("avx512_bf16", "amx_bf16", "bf16")
    assert precision.has_bf16_units() == any(found.get(name, False) for name in names)


def test_why_a_network_is_not_compiled(caplog):
    run = norms(deterministic=True)
    run.plan = replace(run.plan, runtime=Runtime(compile=True))
    with caplog.at_level("INFO", "i2crc"):
        assert not run._is_compiled()
    assert "runtime.compile is not used with deterministic: true" in caplog.text


@pytest.mark.parametrize(
    ("setting", "on_gpu", "threads", "workers"),
    [
        (None, False, 8, 1),
        (None, True, 4, 3),
        (None, True, 64, 8),
        (None, True, 1, 1),
        (0, True, 4, 0),
    ],
)
def test_data_loading_workers(monkeypatch, setting, on_gpu, threads, workers):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert loading_workers(setting, on_gpu) == workers


@pytest.mark.parametrize(
    ("kind", "device", "expected"),
    [
        (Vgg16, "cpu", torch.contiguous_format),
        (Vgg16, "cuda", torch.channels_last),
        (nn.Sequential, "cpu", torch.channels_last),
    ],
)
def test_vgg16_alone_is_trained_without_channels_last_on_a_cpu(tmp_path, kind, device, expected):
    model = nn.Sequential(kind(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU()), nn.Conv2d(4, 2, 1))
    assert memory_format(model, torch.device(device)) == expected
    if device == "cpu":
        orders = []
        model[0].register_forward_hook(lambda *values: orders.append(values[-1]))
        loop.TrainingRun(plan(tmp_path), CPU, model, "1", Pixels(squares)).train(FACTS)
        assert orders
        assert all(output.is_contiguous(memory_format=expected) for output in orders)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_training_resumed_with_another_order_in_memory_ends_alike(tmp_path, monkeypatch, name):
    """As of VGG16 on a CPU, begun on a GPU."""

    def train_in(order, run: str, loss=squares) -> dict[str, torch.Tensor]:
        monkeypatch.setattr(loop, "memory_format", lambda *_: order)
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 3, padding=1))
        one = plan(tmp_path / run, optimizer=Optimizer(name=name))
        loop.TrainingRun(one, CPU, model, "1", Pixels(loss)).train(FACTS)
        return read_state(one.weights)[0]

    expected = train_in(torch.contiguous_format, "whole")
    with pytest.raises(Stopped):
        train_in(torch.channels_last, "interrupted", stop_at(3))
    torch.testing.assert_close(train_in(torch.contiguous_format, "interrupted"), expected)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_fused_step_is_that_of_the_plain_optimiser(name):
    settings = Optimizer(name=name)
    networks, optimizers = [], []
    for fused in (True, False):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 2, 1))
        networks.append(model.to(memory_format=torch.channels_last))
        optimizer = build_optimizer(parameter_groups(model, "1", settings), settings)
        assert optimizer.defaults["fused"]
        if not fused:
            for group in optimizer.param_groups:
                group["fused"] = False
        optimizers.append(optimizer)
    for _ in range(5):
        images = torch.randn(2, 3, 6, 6).contiguous(memory_format=torch.channels_last)
        for network, optimizer in zip(networks, optimizers, strict=True):
            optimizer.zero_grad(set_to_none=True)
            network(images).square().mean().backward()
            optimizer.step()
    for one, other in zip(*(network.parameters() for network in networks), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("how", ["emptied", "cut", "of something else"])
def test_a_damaged_checkpoint_costs_a_fresh_start_and_says_so(tmp_path, caplog, how):
    whole = plan(tmp_path / "whole")
    train(whole, squares)
    interrupted = plan(tmp_path / "interrupted")
    checkpoint = interrupted.folder / "checkpoint.pt"
    interrupted.folder.mkdir(parents=True)
    state = {"fingerprint": interrupted.fingerprint}
    torch.save([1] if how == "of something else" else state, checkpoint)
    if how != "of something else":
        data = checkpoint.read_bytes()
        checkpoint.write_bytes(b"" if how == "emptied" else data[: len(data) // 2])
    with caplog.at_level("WARNING", "i2crc"):
        train(interrupted, squares)
    assert f"{checkpoint}: this checkpoint is damaged" in caplog.text
    assert interrupted.weights.read_bytes() == whole.weights.read_bytes()
    assert not checkpoint.exists()


def test_damaged_weights_of_a_finished_run_are_trained_again(tmp_path):
    done = plan(tmp_path)
    train(done, squares)
    before = done.weights.read_bytes()
    done.weights.write_bytes(before[:100])
    train(done, squares)
    assert done.weights.read_bytes() == before
    train(done, squares)
    assert done.weights.read_bytes() == before


def published(plan: Plan, validation=None) -> tuple[bytes, bytes, dict]:
    """Train unless that is done, and publish; weights, history and provenance."""
    train(plan, validation=validation)
    place = plan.runs.parent
    weights, history = place / "weights.safetensors", place / "history.csv"
    publish(plan, weights, history)
    return weights.read_bytes(), history.read_bytes(), read_provenance(weights)


def test_what_is_published_is_the_same_each_time(tmp_path):
    done = plan(tmp_path / "run")
    first = published(done)
    assert published(done) == first
    checked(tmp_path / "weights", first[2], ProvenanceRecord)
    assert first[2]["precision"] == "fp32"
    assert first[2]["seconds"] > 0


def test_what_is_published_says_of_which_bytes_it_is(tmp_path):
    done = plan(tmp_path / "run")
    published(done)
    for name in ("weights.safetensors", "history.csv"):
        facts = read_provenance(tmp_path / name)
        assert facts["sha256"] == digest_file(tmp_path / name)
        assert facts["bytes"] == (tmp_path / name).stat().st_size


@pytest.mark.parametrize("missing", ["finished", "weights", "history"])
def test_a_run_that_was_killed_before_its_last_file_continues_from_its_checkpoint(
    tmp_path, missing
):
    done = plan(tmp_path / "run")
    with pytest.raises(Stopped):
        train(done, stop_at(5))
    checkpoint = done.checkpoint.read_bytes()
    expected = published(done)
    assert not done.checkpoint.exists()
    done.checkpoint.write_bytes(checkpoint)
    getattr(done, missing).unlink()
    assert read_finished(done) is None
    train(done, lambda *_: pytest.fail("an iteration is repeated"))
    assert published(done)[:2] == expected[:2]
    assert not done.checkpoint.exists()


def stop_at(iteration: int):
    """A loss that ends the training by a signal at an iteration."""
    calls = []

    def loss(output, batch):
        calls.append(1)
        if len(calls) == iteration:
            os.kill(os.getpid(), 15)
        return squares(output, batch)

    return loss


@pytest.mark.parametrize("iteration", [1, 3, 4])
@pytest.mark.parametrize("settings", [{}, AVERAGED])
def test_an_interrupted_run_ends_as_one_that_was_not(tmp_path, iteration, settings):
    whole, interrupted = (plan(tmp_path / n / "run", **settings) for n in ("whole", "interrupted"))
    expected = published(whole)
    with pytest.raises(Stopped):
        train(interrupted, stop_at(iteration))
    assert interrupted.checkpoint.is_file()
    assert not read_finished(interrupted)
    assert published(interrupted)[:2] == expected[:2]
    assert not interrupted.checkpoint.exists()


def test_an_interrupted_run_of_other_settings_neither_harms_nor_is_harmed(tmp_path):
    """A is finished, B interrupted; back to A trains nothing, and B continues afterwards."""
    first, second = plan(tmp_path / "run", "A"), plan(tmp_path / "run", "B", precision="bf16")
    expected = published(first)
    with pytest.raises(Stopped):
        train(second, stop_at(4))
    assert read_finished(first)
    assert published(first) == expected
    resumed = []

    def count(output, batch):
        resumed.append(1)
        return squares(output, batch)

    train(second, count)
    assert len(resumed) == 1
    assert read_finished(second)
    assert published(first) == expected


def test_the_newest_trainings_stay_and_the_one_in_use_is_the_newest(tmp_path):
    """Nothing is deleted before another training has finished."""
    a, b, c, d, e = (plan(tmp_path / "run", name, keep=3) for name in "abcde")
    for one in (a, b, c):
        published(one)
        age(tmp_path / "run")
    published(a)
    age(tmp_path / "run")
    with pytest.raises(Stopped):
        train(d, stop_at(2))
    age(tmp_path / "run")
    assert all(read_finished(one) for one in (a, b, c))
    published(e)
    assert [one.folder.exists() for one in (a, b, c, d, e)] == [True, False, False, True, True]
    assert d.checkpoint.is_file()
    assert not read_finished(plan(tmp_path / "run", "f", keep=1))
    published(plan(tmp_path / "run", "f", keep=1))
    assert len(list((tmp_path / "run").iterdir())) == 1


def age(runs: Path) -> None:
    """Make every run older, as if time had passed."""
    for folder in runs.iterdir():
        os.utime(folder, (0, folder.stat().st_mtime - 100))


def test_a_training_that_would_run_again_says_what_changed(tmp_path):
    first, second = plan(tmp_path), plan(tmp_path, "others", precision="bf16", keep=1)
    assert why_again(first) == []  # nothing was trained before
    train(first)
    assert why_again(first) == []
    changed = ['classifier.precision was "auto", is "bf16"', "its photographs changed"]
    assert why_again(second) == changed
    with pytest.raises(Stopped):
        train(second, stop_at(2))
    assert why_again(first) == []  # it is kept
    assert why_again(second) == changed
    train(second)
    assert why_again(first) == [
        'classifier.precision was "bf16", is "auto"', "its photographs changed"
    ]  # fmt: skip
    second.weights.unlink()
    assert why_again(second) == ["its finished weights are missing or damaged"]


def test_the_record_of_a_run_is_no_artifact(tmp_path):
    """`i2crc verify` would miss its inputs."""
    done = plan(tmp_path)
    train(done)
    assert find_artifact(done.finished) is None


def test_the_history_of_another_run_is_not_taken_for_its_own(tmp_path):
    """Killed after the history was written, before the weights."""
    done = plan(tmp_path)
    train(done)
    before = digest_file(done.history)
    done.history.write_text("iteration,loss\n1,0\n")
    assert not read_finished(done)
    train(done)
    assert digest_file(done.history) == before


LIGHT = """
import sys
import i2crc.training.options, i2crc.training.checkpoint
heavy = {"torch", "numpy", "safetensors", "PIL", "matplotlib", "timm", "torchvision"}
assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()
"""


def test_a_finished_training_is_recognised_without_torch():
    ended = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


class Watch:
    """Validations by a score that jumps up and down with the weights, and the weights it saw."""

    def __init__(self, times: int = 5, chooses: bool = True) -> None:
        self.seen: list[tuple[float, dict[str, torch.Tensor]]] = []
        self.validation = loop.Validation("dev_miou", 7, times, self.score, chooses)

    def score(self, model: nn.Module, preprocessing) -> float:
        assert not model.training
        torch.rand(3)  # changes nothing of the training
        state = {name: value.clone() for name, value in model.state_dict().items()}
        value = float(torch.cos(1e3 * state["1.weight"].sum()))
        self.seen.append((value, state))
        return value


def scores(plan: Plan) -> dict[int, float]:
    """The scores in the history of a training, by iteration."""
    with open(plan.history) as file:
        rows = csv.DictReader(file)
        return {int(r["iteration"]): float(r["dev_miou"]) for r in rows if r["dev_miou"]}


def test_the_mean_of_the_last_weights_is_scored_and_kept(tmp_path):
    plain, averaged = Watch(chooses=False), Watch(chooses=False)
    done = plan(tmp_path / "averaged", **AVERAGED)
    train(plan(tmp_path / "plain", batch_norm="freeze"), validation=plain.validation)
    train(done, validation=averaged.validation)
    each = [state for _, state in plain.seen]  # those after each iteration
    for number, (_, state) in enumerate(averaged.seen, 1):
        first = 2 if number > 2 else number - 1
        expected = {n: torch.stack([s[n] for s in each[first:number]]).mean(0) for n in state}
        torch.testing.assert_close(state, expected)
    torch.testing.assert_close(read_state(done.weights)[0], averaged.seen[-1][1])


def test_the_best_of_the_averaged_weights_are_kept(tmp_path):
    done, watch = plan(tmp_path, **AVERAGED), Watch()
    train(done, validation=watch.validation)
    best = max(watch.seen, key=lambda one: one[0])[1]
    torch.testing.assert_close(read_state(done.weights)[0], best)


def test_the_best_weights_are_published_if_the_score_chooses(tmp_path):
    done, watch = plan(tmp_path / "run"), Watch()
    facts = published(done, watch.validation)[2]
    best, (value, state) = max(enumerate(watch.seen, 1), key=lambda seen: seen[1][0])
    assert best < 5  # else this would say nothing
    assert all(torch.equal(w, state[n]) for n, w in read_state(done.weights)[0].items())
    assert facts["chosen"] == {"iteration": best, "dev_miou": value}
    assert read_state(done.weights)[1]["provenance"]["chosen"] == facts["chosen"]
    assert scores(done) == {n: score for n, (score, _) in enumerate(watch.seen, 1)}
    board = EventAccumulator(str(done.folder / "tensorboard")).Reload()
    shown = {event.step: event.value for event in board.Scalars("dev_miou")}
    assert shown == pytest.approx(scores(done))


@pytest.mark.parametrize(("times", "expected"), [(1, [5]), (2, [3, 5]), (9, [1, 2, 3, 4, 5])])
def test_a_score_that_does_not_choose_changes_no_weights(tmp_path, times, expected):
    plain, watched = plan(tmp_path / "plain/run"), plan(tmp_path / "watched/run")
    first = published(plain)
    second = published(watched, Watch(times, chooses=False).validation)
    assert list(scores(watched)) == expected
    assert second[0] == first[0]
    assert "chosen" not in second[2]
    rows = second[1].decode().splitlines()
    assert [row.rpartition(",")[0] for row in rows] == first[1].decode().splitlines()


@pytest.mark.parametrize("times", [2, 5])
def test_an_interrupted_training_is_validated_and_chosen_like_a_whole_one(tmp_path, times):
    expected = published(plan(tmp_path / "whole/run"), Watch(times).validation)[:2]
    for iteration in (1, 3, 4, 5):
        stopped = plan(tmp_path / f"{iteration}/run")
        with pytest.raises(Stopped):
            train(stopped, stop_at(iteration), Watch(times).validation)
        assert published(stopped, Watch(times).validation)[:2] == expected


def test_a_training_that_is_killed_while_it_validates_has_saved_its_last_iteration(tmp_path):
    expected = published(plan(tmp_path / "whole/run"), Watch(2).validation)[:2]
    killed, watch = plan(tmp_path / "killed/run"), Watch(2)

    def die(model, preprocessing):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(killed, validation=replace(watch.validation, score=die))
    assert torch.load(killed.checkpoint)["iteration"] == 3
    assert published(killed, watch.validation)[:2] == expected
    assert len(watch.seen) == 2
