"""The log of a job, and its lock: one process at a time works on a job."""

import errno
import fcntl
import os
import signal
import subprocess
import sys

import pytest

from i2crc.runtime.log import log, start_log

# Holds the lock of a job, with a forked process and a program beside it, until it is killed.
HOLD = """
import os, subprocess, sys, time
from pathlib import Path
from i2crc.runtime.log import start_log
start_log(Path(sys.argv[1]))
program = subprocess.Popen(["sleep", "600"])
fork = os.fork()
if fork:
    print(os.getpid(), fork, program.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def hold(tmp_path):
    """Return a function that starts a job; what it leaves is killed when the test ends."""
    pids = []

    def start(file) -> subprocess.Popen:
        command = [sys.executable, "-c", HOLD, file]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        pids.extend(map(int, process.stdout.readline().split()))
        return process

    yield start
    for pid in pids[1:]:
        os.kill(pid, signal.SIGKILL)


@pytest.fixture(autouse=True)
def no_handlers(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setattr(log, "handlers", [])


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_second_process_waits_for_the_first_and_says_so_once(tmp_path, hold, how):
    file = tmp_path / "some folder" / "job.log"
    first = hold(file)
    second = subprocess.Popen(
        [sys.executable, "-c", HOLD.replace("program =", "sys.exit(); program ="), file],
        stderr=subprocess.PIPE,
        text=True,
    )
    said = second.stderr.readline()
    assert f"waiting for process {first.pid} on " in said
    assert "which already does this; then it continues" in said
    with pytest.raises(subprocess.TimeoutExpired):
        second.wait(1)
    # The processes that the first one has started do not keep the lock.
    first.send_signal(how)
    first.wait()
    assert second.communicate(timeout=60)[1] == ""
    assert second.returncode == 0
    assert f"process {second.pid} on " in file.with_name(".job.log.lock").read_text()


def test_the_log_is_started_anew_by_the_first_process_of_a_training_alone(tmp_path, monkeypatch):
    file = tmp_path / "job.log"
    file.write_text("old\n")
    monkeypatch.setenv("RANK", "1")
    start_log(file)
    log.info("second process")
    assert file.read_text() == "old\n"
    monkeypatch.setenv("RANK", "0")
    start_log(file)
    log.info("first process")
    assert file.read_text()[9:] == "first process\n"


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL])
def test_without_locks_there_is_a_warning(tmp_path, monkeypatch, capsys, number):
    def refuse(*_):
        raise OSError(number, "none here")

    monkeypatch.setattr(fcntl, "flock", refuse)
    start_log(tmp_path / "job.log")
    assert "no locks here (none here); do not start the same twice" in capsys.readouterr().err
    log.info("at work")
    assert "at work" in (tmp_path / "job.log").read_text()


def test_a_lock_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "logs").write_text("no folder")
    with pytest.raises(OSError, match="logs"):
        start_log(tmp_path / "logs" / "job.log")


def test_a_log_that_cannot_be_written_is_given_up_with_one_line(tmp_path, capsys):
    (tmp_path / "job.log").symlink_to("/dev/full")
    start_log(tmp_path / "job.log")
    log.info("one")
    log.info("two")
    lines = [line[9:] for line in capsys.readouterr().err.splitlines()]
    assert [lines[0], lines[2]] == ["one", "two"] and len(lines) == 3
    assert "job.log: cannot be written ([Errno 28] No space left on device)" in lines[1]
