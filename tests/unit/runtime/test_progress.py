"""The status file of a job: what jobs write is what programs read."""

import json
import logging
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from i2crc.artifacts import manifest
from i2crc.artifacts.provenance import Origin
from i2crc.runtime.log import WARNINGS_ONLY, log
from i2crc.runtime.progress import Status, clock, printable, read_status, status, status_path
from i2crc.training import loop

SCRIPT = """
import os, signal, time
from i2crc.runtime.errors import InputError
from i2crc.runtime.parser import make_parser, run
from i2crc.runtime.progress import status
def main(arguments):
    status.report("image", 3, 8, 0.5, 10)
    {body}
run(main, make_parser("A stage."))
"""


def run_job(log_file: Path, body: str, **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", SCRIPT.format(body=body), "--log", str(log_file)]
    environment |= {"PYTHONPATH": ":".join(sys.path)}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@pytest.fixture
def job(tmp_path, monkeypatch):
    """The log of a job in this process, whose every report is written."""
    monkeypatch.setattr(log, "handlers", [])
    monkeypatch.setattr("i2crc.runtime.progress.SECONDS_BETWEEN_REPORTS", 0)
    log.setLevel(logging.INFO)
    status.start(tmp_path / "job.log")
    yield tmp_path / "job.log"
    status.path = None


@pytest.mark.parametrize(
    ("body", "state", "message"),
    [
        ("pass", "done", ""),
        ("raise InputError('a.png: no PNG\\nand more')", "failed", "a.png: no PNG\nand more"),
        ("raise OSError(28, 'full', '/data/a.png')", "failed", "/data/a.png: no space is left"),
        ("raise KeyError('class 3')", "failed", "KeyError('class 3')"),
        (
            "os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)",
            "stopped",
            "stopped by SIGTERM; start again and it continues",
        ),
        ("os.kill(os.getpid(), signal.SIGKILL)", "running", ""),
    ],
)
def test_how_a_job_ended(tmp_path, body, state, message):
    run_job(tmp_path / "job.log", body)
    found = read_status(tmp_path / "job.log")
    assert found.state == state
    assert found.message.startswith(message) and bool(found.message) == bool(message)
    assert found.host == platform.node() and time.time() - found.written < 60
    with pytest.raises(ProcessLookupError):
        os.kill(found.pid, 0)
    if state != "running":
        assert (found.unit, found.done, found.total) == ("image", 3, 8)
        assert (found.images_per_second, found.seconds_left) == (0.5, 10)
        assert (tmp_path / "job.log").read_text().endswith(f" {state}\n")


def test_a_job_whose_status_cannot_be_written_goes_on_and_says_its_errors(tmp_path):
    status_path(tmp_path / "job.log").mkdir()
    shown = {WARNINGS_ONLY: "1"}
    assert run_job(tmp_path / "job.log", "pass", **shown).returncode == 0
    done = run_job(tmp_path / "job.log", "raise InputError('wrong')", **shown)
    assert done.returncode == 1 and done.stderr.endswith(" wrong\n")
    assert read_status(tmp_path / "job.log") is None
    # Where the logger plugin can read the error, it is not said twice.
    assert run_job(tmp_path / "b.log", "raise InputError('wrong')", **shown).stderr == ""


def test_only_the_first_process_of_a_training_writes(tmp_path):
    assert run_job(tmp_path / "job.log", "pass", RANK="1").returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_messages_are_written_at_once_and_reports_once_a_second(job, monkeypatch):
    monkeypatch.setattr("i2crc.runtime.progress.SECONDS_BETWEEN_REPORTS", 1000)
    monkeypatch.setattr(log, "propagate", False)  # pytest-xdist cannot send a lone surrogate
    status.report("image", 1, 8)
    assert read_status(job).total == 0
    log.warning("%s", "a\udcff.png")
    found = read_status(job)
    assert (found.message, found.done, found.total) == ("a?.png", 1, 8)
    log.info("b.png")
    assert read_status(job).message == "b.png"


def test_images_are_counted_from_those_that_were_already_made(tmp_path, job, monkeypatch):
    seen = []
    write = status.write
    monkeypatch.setattr(status, "write", lambda: (write(), seen.append(read_status(job))))

    def work(image_id: str) -> list[str]:
        if image_id == broken:
            raise RuntimeError(image_id)
        (tmp_path / image_id).touch()
        return [image_id]

    def make():
        folders = {tmp_path / "1-of-1.json": tmp_path}
        manifest.make_shard(folders, origin, tmp_path, keys, lambda: (work, manifest.threads(1)))

    origin, keys = Origin(Path(__file__), [], {}), {f"{n}.png": [n] for n in range(8)}
    broken = "3.png"
    with pytest.raises(RuntimeError):
        make()
    assert (seen[-1].unit, seen[-1].done, seen[-1].total) == ("image", 3, 8)
    seen.clear()
    broken = ""
    make()
    assert (seen[0].done, seen[0].images_per_second) == (seen[1].done, 0)
    assert seen[1].message == f"{seen[0].done} of 8 images were already made"
    assert sorted({one.done for one in seen}) == list(range(seen[0].done, 9))
    assert seen[-1].images_per_second > 0 and seen[-1].seconds_left == 0
    seen.clear()
    make()
    assert {(one.done, one.total) for one in seen} == {(8, 8)}


def test_iterations_of_a_resumed_training(job, monkeypatch):
    # Resumed at 80: 20 iterations of 10 images in 30 s.
    run = SimpleNamespace(
        stepping=100.0, logged=100.0, iteration=100, first_iteration=80,
        plan=SimpleNamespace(iterations=200, runtime=SimpleNamespace(log_seconds=15)),
        settings=SimpleNamespace(batch_size=5, accumulate=2),
        history=[{"iteration": 100, "loss": 1e-9}], device=torch.device("cpu"),
    )  # fmt: skip
    monkeypatch.setattr(loop.time, "monotonic", lambda: 130.0)
    loop.TrainingRun._report(run)
    found = read_status(job)
    assert (found.unit, found.done, found.total, found.seconds_left) == ("iteration", 100, 200, 150)
    assert found.images_per_second == pytest.approx(200 / 30)
    assert found.message.startswith("iteration 100/200 loss 1e-09 6.667 images/s ")
    assert found.message.endswith(" GiB ETA 0:02:30")


@given(st.binary() | st.recursive(
    st.none() | st.integers() | st.floats() | st.text(),
    lambda value: st.lists(value) | st.dictionaries(st.sampled_from([*Status.model_fields]), value),
))  # fmt: skip
def test_what_is_damaged_is_not_known(tmp_path_factory, content):
    file = tmp_path_factory.getbasetemp() / "job.log"
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    status_path(file).write_bytes(data)
    assert isinstance(read_status(file), Status | None)


def test_clock():
    assert [clock(s) for s in (0, 59.9, 61, 36000)] == ["0:00:00", "0:00:59", "0:01:01", "10:00:00"]


def test_printable():
    assert printable("a\33[2Jä\nb\udcff\r") == "a?[2Jä\nb??"
