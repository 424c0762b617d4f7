"""The lease of GPUs, between real processes; the ids are made up, and no GPU is needed."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from i2crc.runtime import gpus
from i2crc.runtime.errors import InputError

SCRIPTS = Path(__file__).parents[3] / "workflow_scripts"
# Names that no other process uses.
FIRST, SECOND, THIRD = (f"{os.getpid()}-{number}" for number in (7, 8, 9))
BOTH = f"{FIRST},{SECOND}"
# Each GPU that a job has seen is a file for as long as the job is at work on it.
JOB = """
import logging, os, sys, time
from pathlib import Path
from i2crc.runtime.gpus import lease
logging.basicConfig(level=logging.INFO, format="%(message)s")
folder, count, seconds = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
print("ready", flush=True)
sys.stdin.read()
lease(count)
mine = os.environ["CUDA_VISIBLE_DEVICES"].split(",")
assert len(mine) == count, mine
for gpu in mine:
    os.close(os.open(folder / gpu, os.O_CREAT | os.O_EXCL))
print(*mine, flush=True)
time.sleep(seconds)
for gpu in mine:
    os.unlink(folder / gpu)
"""
# What the scripts with --gpus load must leave it to them when CUDA starts.
IMPORTS = """
import torch
starts = []
torch._C._cuda_init = lambda: starts.append("init")
torch._C._cuda_getDeviceCount = lambda: starts.append("count") or 0
import importlib.util, pkgutil, sys
for script in sys.argv[1:]:
    spec = importlib.util.spec_from_file_location("script", script)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
import i2crc
for module in pkgutil.walk_packages(i2crc.__path__, "i2crc."):
    if module.name.split(".")[1] in ("evaluation", "inference", "labels", "models", "training"):
        importlib.import_module(module.name)
assert not starts
torch.cuda.is_available()
assert starts
"""


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """Two GPUs, no scheduler and no torchrun."""
    for name in (*gpus.SCHEDULERS, "RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", BOTH)
    yield
    gpus._held.clear()


@pytest.fixture
def start(tmp_path):
    """A function that starts jobs, which ask for GPUs at the same moment; returns them, or the one.

    What is still at work when the test ends, forks included, is killed.
    """
    jobs = []

    def start_jobs(*counts: int, seconds: float = 600, script: str = JOB):
        for count in counts:
            command = [sys.executable, "-c", script, str(tmp_path), str(count), str(seconds)]
            pipe = subprocess.PIPE
            jobs.append(
                subprocess.Popen(
                    command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, process_group=0
                )
            )
        new = jobs[-len(counts) :]
        assert [job.stdout.readline() for job in new] == ["ready\n"] * len(counts)
        for job in new:
            job.stdin.close()
            job.stdin = None
        return new if len(counts) > 1 else new[0]

    yield start_jobs
    for job in jobs:
        with suppress(ProcessLookupError):
            os.killpg(job.pid, signal.SIGKILL)
        job.communicate()


def is_free(gpu: str) -> bool:
    with socket.socket(socket.AF_UNIX) as lock:
        try:
            lock.bind(f"\0i2crc-gpu-{gpu}")
        except OSError:
            return False
        return True


def wait_for(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("pool", [BOTH, f"{BOTH},{THIRD}"], ids=["two", "three"])
@pytest.mark.parametrize("counts", [(1,) * 6, (2,) * 6, (1, 2, 1, 2, 1, 2)])
def test_six_jobs_at_a_time_never_share_and_all_finish(start, monkeypatch, pool, counts):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", pool)
    jobs = start(*counts, seconds=0.3)
    ends = [job.communicate(timeout=120) for job in jobs]
    assert [job.returncode for job in jobs] == [0] * 6, ends
    used = {gpu for output, _ in ends for gpu in output.split()}
    assert used == set(pool.split(",")) or counts == (2,) * 6
    assert any("waiting for" in text for _, text in ends)


def test_two_are_taken_together_or_not_at_all(start, tmp_path):
    holder = start(1)
    assert holder.stdout.readline() == f"{FIRST}\n"
    both = start(2)
    both.stderr.readline()
    one = start(1, seconds=0)
    # Nobody keeps it and waits for the other.
    assert one.communicate(timeout=60)[0] == f"{SECOND}\n"
    assert both.poll() is None
    (tmp_path / FIRST).unlink()
    holder.kill()
    assert both.stdout.readline() == f"{FIRST} {SECOND}\n"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_the_death_of_its_holder_frees_it(start, how):
    holder = start(2)
    assert holder.stdout.readline() == f"{FIRST} {SECOND}\n"
    assert not is_free(FIRST) and not is_free(SECOND)
    holder.send_signal(how)
    holder.wait()
    assert is_free(FIRST) and is_free(SECOND)


def test_forks_do_not_keep_it(start):
    forked = "fork = os.fork(); fork and print(fork, flush=True); time.sleep(600)"
    holder = start(1, script=JOB.replace("time.sleep(seconds)", forked))
    assert holder.stdout.readline() == f"{FIRST}\n"
    fork = int(holder.stdout.readline())
    holder.kill()
    holder.wait()
    wait_for(lambda: is_free(FIRST))
    os.kill(fork, 0)


def test_a_program_that_the_job_becomes_keeps_it(start):
    replaced = "os.execvp('sh', ['sh', '-c', 'echo $CUDA_VISIBLE_DEVICES; exec sleep 600'])"
    job = start(1, script=JOB.replace("time.sleep(seconds)", replaced))
    assert [job.stdout.readline() for _ in range(2)] == [f"{FIRST}\n"] * 2
    wait_for(lambda: Path(f"/proc/{job.pid}/comm").read_text() == "sleep\n")
    assert not is_free(FIRST)
    assert is_free(SECOND)
    job.kill()
    job.wait()
    assert is_free(FIRST)


def test_a_process_of_torchrun_uses_what_torchrun_leased(start, monkeypatch):
    holder = start(2)
    assert holder.stdout.readline() == f"{FIRST} {SECOND}\n"
    monkeypatch.setenv("RANK", "0")
    gpus.lease(2)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == BOTH


@pytest.mark.parametrize("name", sorted(gpus.SCHEDULERS))
@pytest.mark.parametrize("visible", [BOTH, None], ids=["two", "unset"])
def test_what_a_scheduler_assigned_passes_through(monkeypatch, name, visible):
    monkeypatch.setenv(name, "1")
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    before = dict(os.environ)
    gpus.lease(1)
    gpus.lease(3)
    assert dict(os.environ) == before
    assert is_free(FIRST) and is_free(SECOND)
    assert gpus.jobs_at_a_time() == 1


def test_none_wanted_none_is_seen():
    gpus.lease(0)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
    assert is_free(FIRST)


def test_more_than_there_are():
    with pytest.raises(InputError, match=rf"--gpus 3: .*, 2 \({FIRST}, {SECOND}\); give --gpus 2 "):
        gpus.lease(3)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == BOTH


@pytest.mark.parametrize(
    ("visible", "pool"),
    [
        ("7", ["7"]),
        (" 7 , 8,7", ["7", "8"]),
        ("7,-1,8", ["7"]),
        ("", []),
        ("-1", []),
        ("GPU-8f2c,MIG-GPU-8f2c/1/0", ["GPU-8f2c", "MIG-GPU-8f2c/1/0"]),
    ],
)
def test_pool_as_cuda_reads_it(monkeypatch, visible, pool):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpus.pool() == pool
    assert gpus.jobs_at_a_time() == max(1, len(pool))


def test_without_gpus_nothing_is_leased(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    gpus.lease(1)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "-1"


SMI = """#!/bin/sh
[ "$1" = --list-gpus ] || exit 1
echo 'GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-5d5ba0d6)'
echo '  MIG 1g.5gb     Device  0: (UUID: MIG-c6d4f1ef)'
echo 'GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-c7b94a91)'
"""


@pytest.mark.parametrize(
    ("smi", "pool"), [(SMI, ["0", "1"]), ("#!/bin/sh\nexit 9\n", []), ("", [])]
)
def test_pool_as_the_driver_tells_it(tmp_path, monkeypatch, smi, pool):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("PATH", str(tmp_path))
    if smi:
        (tmp_path / "nvidia-smi").write_text(smi)
        (tmp_path / "nvidia-smi").chmod(0o755)
    assert gpus.pool() == pool


def test_scripts_load_without_starting_cuda():
    scripts = sorted(path for path in SCRIPTS.glob("[!i]*/*.py") if '"--gpus"' in path.read_text())
    assert len(scripts) >= 3
    subprocess.run([sys.executable, "-c", IMPORTS, *scripts], check=True)
