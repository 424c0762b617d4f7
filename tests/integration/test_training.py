"""Trainings as processes: killed and resumed, on two processes, with a loss that is not finite."""

import csv
import json
import signal

import psutil
import pytest
from safetensors.torch import load_file

from helpers.project import called, run
from helpers.training import Training, runtime, wait_for_iteration


@pytest.fixture
def training(finished, tmp_path) -> Training:
    return Training(finished.results, tmp_path)


@pytest.fixture(scope="module")
def whole(finished, tmp_path_factory) -> Training:
    """A training `whole` that ran without a disturbance."""
    training = Training(finished.results, tmp_path_factory.mktemp("whole"))
    done = run(training.command("whole", *runtime()), finished.folder)
    assert done.returncode == 0, done.stderr
    return training


@pytest.mark.exhaustive
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_killed_training_continues_and_ends_with_the_same_bytes(whole, training, how):
    process = training.start("killed", *runtime(checkpoint_seconds=0.001))
    wait_for_iteration(process, 7)
    process.send_signal(how)
    process.communicate()
    assert process.returncode == (-9 if how is signal.SIGKILL else 128 + how)
    assert not training.weights("killed").exists()

    again = run(training.command("killed", *runtime()), training.results.parents[1])
    assert again.returncode == 0, again.stderr
    assert "resumed at iteration" in again.stderr
    for name in ("weights.safetensors", "history.csv"):
        killed = training.folder / "killed" / name
        assert killed.read_bytes() == (whole.folder / "whole" / name).read_bytes()


def test_a_finished_training_is_not_repeated(whole):
    before = whole.weights("whole").read_bytes()
    whole.weights("whole").unlink()
    again = run(whole.command("whole", *runtime()), whole.results.parents[1])
    assert "already trained" in again.stderr
    assert "iteration" not in again.stderr.split("already trained")[1]
    assert whole.weights("whole").read_bytes() == before


@pytest.mark.exhaustive
def test_former_settings_continue_where_they_were(whole, training):
    """Interrupted, trained with other settings, and back."""
    process = training.start("changed", *runtime(checkpoint_seconds=0.001))
    wait_for_iteration(process, 3)
    process.terminate()
    process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    assert not training.weights("changed").exists()
    folder, other = training.results.parents[1], training.command("changed", *runtime(), epochs=2)
    again = run(other, folder)
    assert again.returncode == 0, again.stderr
    assert "resumed" not in again.stderr
    other_weights = training.weights("changed").read_bytes()
    back = run(training.command("changed", *runtime()), folder)
    assert "resumed at iteration" in back.stderr
    assert training.weights("changed").read_bytes() == whole.weights("whole").read_bytes()
    again = run(other, folder)
    assert "already trained" in again.stderr
    assert training.weights("changed").read_bytes() == other_weights


def test_a_loss_that_is_not_finite_stops_with_the_images(training):
    command = training.command("nan", *runtime(), optimizer={"learning_rate": 1e30})
    done = run(command, training.results.parents[1])
    assert done.returncode == 1
    assert "the loss is" in done.stderr
    assert "demo_train_" in done.stderr


@pytest.mark.exhaustive
@pytest.mark.parametrize("batch_size", [4, 5])
def test_two_processes_compute_what_one_does(training, batch_size):
    """Also with unequal parts of a batch.

    Batch statistics are per process on the CPU, so the comparison freezes them.
    """
    common = {"batch_norm": "freeze", "epochs": 2, "optimizer": {"learning_rate": 1e-3}}
    common |= {"batch_size": batch_size}
    common |= {"backbone_stage": 3, "output_stride": 16}
    for name, processes in (("one", "1"), ("two", "2")):
        command = training.command(name, *runtime(), "--processes", processes, **common)
        done = run(command, training.results.parents[1])
        assert done.returncode == 0, done.stderr
    one, two = (load_file(training.weights(name)) for name in ("one", "two"))
    for name, value in one.items():
        assert (value - two[name]).abs().max() <= 1e-4 * max(1, value.abs().max()), name
    histories = ((training.folder / name / "history.csv").read_text() for name in ("one", "two"))
    losses = [
        [float(row["loss"]) for row in csv.DictReader(history.splitlines())]
        for history in histories
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.exhaustive
def test_more_processes_than_photographs(training, tmp_path):
    content = json.loads((training.results / "data/train.json").read_text())
    content["images"] = content["images"][:2]
    few = tmp_path / "few.json"
    few.write_text(json.dumps(content))
    command = training.command("few", *runtime(), "--processes", "3", "--index", str(few))
    done = run(command, training.results.parents[1])
    assert done.returncode == 0, done.stderr
    assert training.weights("few").exists()


@pytest.mark.exhaustive
def test_processes_go_on_when_one_of_them_has_died(training):
    """As after any end, with the bytes of a run that nothing disturbed."""
    two = ("--processes", "2")
    whole = run(training.command("whole", *runtime(), *two), training.results.parents[1])
    assert whole.returncode == 0, whole.stderr
    process = training.start("died", *runtime(checkpoint_seconds=0.001), *two)
    wait_for_iteration(process, 7)
    ranks = called("train_classifier.py", psutil.Process(process.pid).children())
    assert len(ranks) == 2
    ranks[1].kill()
    _, said = process.communicate()
    assert process.returncode == 0, said
    assert said.count("resumed at iteration") == 1
    for name in ("weights.safetensors", "history.csv"):
        died = training.folder / "died" / name
        assert died.read_bytes() == (training.folder / "whole" / name).read_bytes()


@pytest.mark.exhaustive
def test_an_error_of_two_processes_is_not_met_again(training):
    command = training.command(
        "nan", *runtime(), "--processes", "2", optimizer={"learning_rate": 1e30}
    )
    done = run(command, training.results.parents[1])
    assert done.returncode != 0
    assert "the loss is" in done.stderr
    assert len(list((training.folder / "nan/run").glob("*/attempt-*.log"))) == 1
