"""Locks between processes: one holder, named, and free whatever way it dies."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from i2crc.runtime import locks
from i2crc.runtime.locks import Lock, is_held

HOLD = """
import sys, time
from pathlib import Path
from i2crc.locks import Lock
assert Lock(Path(sys.argv[1])).take()
print("held", flush=True)
time.sleep(600)
"""


def start_holder(path) -> subprocess.Popen:
    command = [sys.executable, "-c", HOLD, str(path)]
    environment = {"PYTHONPATH": ":".join(sys.path)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_second_one_is_told_who_holds_it_until_that_dies(tmp_path, how):
    path = tmp_path / "some folder" / ".lock"
    holder = start_holder(path)
    lock = Lock(path)
    assert not lock.take()
    assert f"process {holder.pid} on " in lock.holder()
    holder.send_signal(how)
    lock.wait()
    holder.wait()
    assert lock.take()


def test_who_looks_sees_it_held_then_free_and_takes_nothing(tmp_path, monkeypatch):
    path = tmp_path / ".lock"
    assert is_held(path) is None
    assert not path.exists()
    holder = start_holder(path)
    assert [is_held(path), is_held(path)] == [True, True]
    holder.kill()
    holder.wait()
    assert [is_held(path), is_held(path)] == [False, False]
    assert f"process {holder.pid} on " in path.read_text()
    # From another machine a lock may look free all the same.
    monkeypatch.setattr(locks.platform, "node", lambda: "another")
    assert is_held(path) is None


def test_released_it_is_free_and_names_nobody(tmp_path):
    first, second = Lock(tmp_path / "lock"), Lock(tmp_path / "lock")
    assert first.take() and first.take()
    assert not second.take()
    first.release()
    assert second.take()
    assert f"process {os.getpid()} on " in first.holder()


def test_neither_forks_nor_programs_keep_it(tmp_path):
    lock = Lock(tmp_path / "lock")
    assert lock.take()
    program = subprocess.Popen(["sleep", "600"])
    fork = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
    fork.start()
    try:
        # As if this process had died: its own end of the file is closed without a word.
        lock.file.close()
        other = Lock(tmp_path / "lock")
        deadline = time.monotonic() + 60  # the fork has to begin before it can let go
        while not other.take():
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        program.kill()
        program.wait()
        fork.kill()
        fork.join()


@pytest.mark.parametrize("number", locks.UNSUPPORTED)
def test_without_locks_there_is_a_warning(tmp_path, monkeypatch, caplog, number):
    def refuse(*_):
        raise OSError(number, "not here")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    assert Lock(tmp_path / "lock").take()
    assert is_held(tmp_path / "lock") is None
    assert "do not start two" in caplog.text
