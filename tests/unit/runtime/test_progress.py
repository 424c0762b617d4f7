"""What programs read in a log is what the jobs write: every writer runs for real."""

import logging
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from i2crc.artifacts import manifest
from i2crc.artifacts.provenance import Origin
from i2crc.runtime.log import LogFile, log, log_to
from i2crc.runtime.progress import DONE, FAILED, STOPPED, JobLog, Pace, clock, read_log
from i2crc.training import loop

SCRIPT = """
import os, signal, time
from i2crc.runtime.errors import InputError
from i2crc.runtime.parser import make_parser, run
def main(arguments):
    {body}
run(main, make_parser("A stage."))
"""


@pytest.fixture
def log_file(tmp_path, monkeypatch):
    """The log of a job in this process."""
    monkeypatch.setattr(log, "handlers", [])
    log.setLevel(logging.INFO)
    log_to(LogFile(tmp_path / "job.log"))
    return tmp_path / "job.log"


@pytest.mark.parametrize(
    ("body", "end", "line"),
    [
        ("pass", DONE, "done"),
        ("raise InputError('a.png: no PNG\\\\nand more')", FAILED, "a.png: no PNG"),
        ("raise OSError(28, 'full', '/data/a.png')", FAILED, "/data/a.png: no space is left"),
        ("raise KeyError('class 3')", FAILED, "KeyError: 'class 3'"),
        (
            "os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)",
            STOPPED,
            "stopped by SIGTERM; start again and it continues",
        ),
        ("os.kill(os.getpid(), signal.SIGKILL)", None, ""),
    ],
)  # fmt: skip
def test_how_a_job_ended(tmp_path, body, end, line):
    file = tmp_path / "job.log"
    command = [sys.executable, "-c", SCRIPT.format(body=body), "--log", str(file)]
    subprocess.run(command, capture_output=True, env={"PYTHONPATH": ":".join(sys.path)})
    found = read_log(file.read_text())
    assert found.end == end
    assert found.line.startswith(line) and bool(found.line) == bool(line)


def test_images_are_counted_from_those_that_were_already_made(tmp_path, log_file, monkeypatch):
    def work(image_id: str) -> list[str]:
        if image_id == broken:
            raise RuntimeError(image_id)
        (tmp_path / image_id).touch()
        return [image_id]

    def make():
        folders = {tmp_path / "1-of-1.json": tmp_path}
        manifest.make_shard(folders, origin, tmp_path, keys, lambda: (work, manifest.threads(1)))

    monkeypatch.setattr(manifest, "LOG_SECONDS", 1e-9)
    origin, keys = Origin(Path(__file__), [], {}), {f"{n}.png": [n] for n in range(8)}
    broken = "3.png"
    with pytest.raises(RuntimeError):
        make()
    assert read_log(log_file.read_text()).pace.done == 3
    assert "0 of 8 images were already made" in log_file.read_text()
    log_file.write_text("")
    broken = ""
    make()
    lines = log_file.read_text().splitlines(keepends=True)
    assert read_log(lines[0]).pace.images_per_second is None
    counts = [read_log(line).pace.done for line in lines if read_log(line).pace]
    assert counts == list(range(counts[0], 9))
    last = read_log("".join(lines)).pace
    assert (last.unit, last.total, last.seconds_left) == ("image", 8, 0)
    assert last.images_per_second > 0


def test_iterations_are_read_as_a_training_writes_them(log_file, monkeypatch):
    plan = SimpleNamespace(
        iterations=200,
        settings=SimpleNamespace(batch_size=5, accumulate=2),
        runtime=SimpleNamespace(log_seconds=1e-9),
    )
    times = iter([100.0, 130.0])
    monkeypatch.setattr(loop.time, "monotonic", lambda: next(times))
    # Resumed at 80: 20 iterations of 10 images in 30 s.
    progress = loop._Progress(plan, torch.device("cpu"), 80)
    progress.bar.disable = True
    progress.show(100, {"iteration": 100, "loss": 1e-9, "images": float("nan")})
    assert read_log(log_file.read_text()).pace == Pace("iteration", 100, 200, 6.667, 150)


@given(
    st.sampled_from(["image", "iteration"]),
    st.integers(0, 10**9 - 1),
    st.integers(0, 10**9 - 1),
    st.floats(1e-9, 1e9),
    st.integers(0, 10**7),
    st.sampled_from(["", "loss 2.776", "loss nan GiB"]),
)
def test_a_pace_is_read_as_it_was_written(unit, done, total, rate, left, facts):
    pace = Pace(unit, done, total, float(f"{rate:.4g}"), left)
    assert read_log(f"10:00:00 {pace.line(facts, '0.8 GiB')}\n10:00:01 {pace.unit}s").pace == pace


@given(st.text() | st.text("0123456789:/ .adefgimnosTAE\n"))
def test_any_text_is_a_log(text):
    assert isinstance(read_log(text), JobLog)
    assert isinstance(read_log(f"10:00:00 {text}\n10:00:01 failed\n"), JobLog)


def test_a_log_that_was_cut_says_what_is_left_of_it():
    pace = Pace("image", 3, 8, 1.5, 3)
    whole = f"10:00:00 python x.py\n10:00:01 {pace.line()}\n10:00:09 done\n"
    assert read_log(whole) == JobLog(pace, DONE, "done")
    assert read_log(whole[15:]) == read_log(whole)
    assert read_log(whole[:-2]).end is None
    assert read_log(whole[: whole.index("images/s")]) == JobLog(None, None, "image 3/8 1.5")
    assert read_log("") == JobLog(None, None, "")


def test_clock():
    assert [clock(s) for s in (0, 59.9, 61, 36000)] == ["0:00:00", "0:00:59", "0:01:01", "10:00:00"]
