"""The lease of GPUs, between real processes; the ids are made up, and no GPU is needed."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from i2crc.runtime import gpus
from i2crc.runtime.errors import InputError

SCRIPTS = Path(__file__).parents[3] / "workflow_scripts"
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
# The same as a command line that goes on under torchrun, in two processes.
TORCHRUN_JOB = """
import os, sys, time
from i2crc.runtime.parser import make_parser, run
from i2crc.training import torchrun
def main(arguments):
    torchrun.launch(arguments.gpus, 2, 1, 1, 2)
    words = os.getppid(), os.getpid(), os.environ["CUDA_VISIBLE_DEVICES"]
    os.write(1, " ".join(map(str, words)).encode() + b"\\n")  # at once: two write to one pipe
    time.sleep(600)
parser = make_parser("")
parser.add_argument("--gpus", type=int)
run(main, parser)
"""
# What the scripts with --gpus load must leave it to them when CUDA starts.
IMPORTS = """
import torch
starts = []
torch._C._cuda_init = lambda: starts.append("init")
torch._C._cuda_getDeviceCount = lambda: starts.append("count") or 0
import importlib.util, sys
for script in sys.argv[1:]:
    spec = importlib.util.spec_from_file_location("script", script)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
import i2crc.evaluation.ranking, i2crc.inference.prediction, i2crc.training.loop
import i2crc.training.classifier, i2crc.training.segmentation
assert not starts
torch.cuda.is_available()
assert starts
"""


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """A temporary folder of its own, GPUs 7 and 8, no scheduler and no torchrun."""
    for name in (*gpus.SCHEDULERS, "RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(gpus.tempfile, "tempdir", None)  # TMPDIR is looked at again
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7,8")


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


def folder() -> Path:
    return Path(gpus.tempfile.gettempdir(), f"i2crc-gpus-{os.getuid()}")


def is_free(gpu: str) -> bool:
    folder().mkdir(exist_ok=True)
    with open(folder() / f"gpu-{gpu}", "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def wait_for(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("pool", ["7,8", "7,8,9"])
@pytest.mark.parametrize("counts", [(1,) * 6, (2,) * 6, (1, 2, 1, 2, 1, 2)])
def test_six_jobs_at_a_time_never_share_and_all_finish(start, monkeypatch, pool, counts):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", pool)
    jobs = start(*counts, seconds=0.3)
    ends = [job.communicate(timeout=120) for job in jobs]
    assert [job.returncode for job in jobs] == [0] * 6, ends
    used = {gpu for output, _ in ends for gpu in output.split()}
    assert used == set(pool.split(",")) or counts == (2,) * 6
    waiting = [text for _, text in ends if "waiting for" in text]
    assert waiting
    assert all("process " in text and "(since " in text for text in waiting)


def test_who_waits_is_told_who_holds_them(start):
    holder = start(1)
    assert holder.stdout.readline() == "7\n"
    waiting = start(2)
    line = waiting.stderr.readline()
    assert line.startswith(f"waiting for 2 of the GPUs 7: process {holder.pid} on ")
    assert "8: " not in line


def test_two_are_taken_together_or_not_at_all(start, tmp_path):
    holder = start(1)
    assert holder.stdout.readline() == "7\n"
    both = start(2)
    both.stderr.readline()
    one = start(1, seconds=0)
    assert one.communicate(timeout=60)[0] == "8\n"  # nobody keeps it and waits for the other
    assert both.poll() is None
    (tmp_path / "7").unlink()
    holder.kill()
    assert both.stdout.readline() == "7 8\n"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_the_death_of_its_holder_frees_it(start, how):
    holder = start(2)
    assert holder.stdout.readline() == "7 8\n"
    assert not is_free("7") and not is_free("8")
    holder.send_signal(how)
    holder.wait()
    assert is_free("7") and is_free("8")


def test_forks_do_not_keep_it(start):
    forked = "fork = os.fork(); fork and print(fork, flush=True); time.sleep(600)"
    holder = start(1, script=JOB.replace("time.sleep(seconds)", forked))
    assert holder.stdout.readline() == "7\n"
    fork = int(holder.stdout.readline())
    holder.kill()
    holder.wait()
    wait_for(lambda: is_free("7"))
    os.kill(fork, 0)


def test_a_program_that_the_job_becomes_keeps_it(start):
    replaced = "os.execvp('sh', ['sh', '-c', 'echo $CUDA_VISIBLE_DEVICES; exec sleep 600'])"
    job = start(1, script=JOB.replace("time.sleep(seconds)", replaced))
    assert [job.stdout.readline() for _ in range(2)] == ["7\n", "7\n"]
    wait_for(lambda: Path(f"/proc/{job.pid}/comm").read_text() == "sleep\n")
    assert not is_free("7")
    assert is_free("8")
    job.kill()
    job.wait()
    assert is_free("7")


def test_processes_of_torchrun_keep_it_when_torchrun_dies(tmp_path):
    script = tmp_path / "job.py"
    script.write_text(TORCHRUN_JOB)
    command = [sys.executable, script, "--gpus", "2"]
    lines = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as job:
        try:
            lines += [job.stdout.readline().split() for _ in range(2)]
            assert [(int(line[0]), line[2]) for line in lines] == [(job.pid, "7,8")] * 2
            job.kill()
            job.wait()
            assert not is_free("7") and not is_free("8")
        finally:
            for _, worker, _ in lines:
                os.kill(int(worker), signal.SIGKILL)
            job.kill()
    wait_for(lambda: is_free("7") and is_free("8"))


@pytest.mark.parametrize("name", sorted(gpus.SCHEDULERS))
@pytest.mark.parametrize("visible", ["7,8", None])
def test_what_a_scheduler_assigned_passes_through(monkeypatch, name, visible):
    monkeypatch.setenv(name, "1")
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    before = dict(os.environ)
    gpus.lease(1)
    gpus.lease(3)
    assert dict(os.environ) == before
    assert is_free("7") and is_free("8")
    assert gpus.jobs_at_a_time() == 1


def test_none_wanted_none_is_seen():
    gpus.lease(0)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
    assert is_free("7")


def test_more_than_there_are():
    with pytest.raises(InputError, match=r"--gpus 3: .*, 2 \(7, 8\); give --gpus 2 "):
        gpus.lease(3)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "7,8"


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
    gpus.lease(max(1, len(pool)))
    assert os.environ["CUDA_VISIBLE_DEVICES"] == (",".join(pool) if pool else visible)


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
    gpus.lease(1)
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == (pool[0] if pool else None)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to give a folder to another user")
def test_locks_of_another_user_are_not_used():
    folder().mkdir()
    os.chown(folder(), 1, 1)
    with pytest.raises(InputError, match="belongs to another user"):
        gpus.lease(1)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS])
def test_without_locks_there_is_no_lease(monkeypatch, number):
    def refuse(*_):
        raise OSError(number, "none here")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(InputError, match=r"cannot be locked \(none here\).*set TMPDIR"):
        gpus.lease(1)


def test_scripts_load_without_starting_cuda():
    scripts = sorted(path for path in SCRIPTS.glob("[!i]*/*.py") if '"--gpus"' in path.read_text())
    assert len(scripts) >= 3
    subprocess.run([sys.executable, "-c", IMPORTS, *scripts], check=True)
