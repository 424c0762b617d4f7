"""Lease GPUs, so that jobs side by side on one machine use different ones."""

import fcntl
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from urllib.parse import quote

from filelock import FileLock

from i2crc.runtime.errors import InputError
from i2crc.runtime.log import log, this_process

VISIBLE = "CUDA_VISIBLE_DEVICES"
# In a job of SLURM, PBS, LSF, SGE or Kubernetes, the visible GPUs are those assigned to the job.
SCHEDULERS = {"SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID", "KUBERNETES_SERVICE_HOST"}
SECONDS_BETWEEN_TRIES = 0.5


def lease(count: int) -> None:
    """Make `count` GPUs visible to this process and its children that no other job has leased.

    Wait until `count` are free at the same time. The lease ends with this process, even if it is
    killed. A program that the process becomes (exec) and the processes of torchrun keep it. With
    0, no GPU is visible. Nothing changes on a machine without GPUs, nor in a scheduler's job.
    Call this before CUDA starts. Raise InputError if there are fewer GPUs.
    """
    if count == 0:
        os.environ[VISIBLE] = ""
        return
    gpus = [] if _is_scheduled() else pool()
    if not gpus:
        return
    if "RANK" in os.environ:
        # A process of torchrun holds its own GPU, too, in case torchrun dies first.
        for gpu in gpus[int(os.environ.get("LOCAL_RANK", 0)) :][:1]:
            _lock(gpu, fcntl.LOCK_SH)
        return
    if count > len(gpus):
        raise InputError(
            f"--gpus {count}: more than there are here, {len(gpus)} ({', '.join(gpus)}); give "
            f"--gpus {len(gpus)} (to the whole workflow: --resources gpu={len(gpus)}) or less, or "
            f"more of them in {VISIBLE}"
        )
    waiting = False
    while len(leased := _take(gpus, count)) < count:
        if not waiting:
            waiting = True
            holders = [f"{gpu}: {_file(gpu).read_text()}" for gpu in gpus if gpu not in leased]
            log.info("waiting for %d of the GPUs %s", count, "; ".join(holders))
        time.sleep(SECONDS_BETWEEN_TRIES)
    os.environ[VISIBLE] = ",".join(leased)
    log.info("leased %d of the GPUs %s: %s", count, ", ".join(gpus), ", ".join(leased))


def pool() -> list[str]:
    """Return the GPUs to share out: those in CUDA_VISIBLE_DEVICES, else all of this machine.

    The driver's own program lists the latter: torch loads slowly, and asking CUDA would start it.
    """
    visible = os.environ.get(VISIBLE)
    if visible is None:
        return _installed()
    ids = [word.strip() for word in visible.split(",")]
    # CUDA, too, ends the list at an entry that is empty or negative.
    named = takewhile(lambda word: word and word[0] != "-", ids)
    return list(dict.fromkeys(named))


def jobs_at_a_time() -> int:
    """Return how many jobs of one GPU each a workflow may run on this machine at the same time.

    1 without GPUs, where the jobs run on the CPU, and 1 in a scheduler's job, where nothing is
    leased.
    """
    return 1 if _is_scheduled() else max(1, len(pool()))


def _is_scheduled() -> bool:
    return not SCHEDULERS.isdisjoint(os.environ)


def _installed() -> list[str]:
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--list-gpus"], capture_output=True, text=True, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return re.findall(r"^GPU (\d+): ", listed.stdout, re.MULTILINE)


def _take(gpus: Sequence[str], count: int) -> list[str]:
    """Lease `count` GPUs and return them; lease none and return the free ones if fewer are free."""
    try:
        # One process at a time: two that each find some of the GPUs free would both give up.
        with FileLock(_file("turn"), fallback_to_soft=False):
            locked = {gpu: _lock(gpu, fcntl.LOCK_EX) for gpu in gpus}
            free = {gpu: file for gpu, file in locked.items() if file is not None}
            leased = list(free)[:count] if len(free) >= count else []
            for file in free.values():
                os.close(file)
            for gpu in leased:
                _lock(gpu, fcntl.LOCK_SH)
                with suppress(OSError):  # on a full disk, the GPU is leased without a name
                    _file(gpu).write_text(this_process())
    except OSError as error:
        raise InputError(
            f"{_file('turn')}: cannot be locked ({error.strerror}), so GPUs cannot be leased; set "
            "TMPDIR to a folder on a local disk"
        ) from error
    return leased or list(free)


def _lock(gpu: str, how: int) -> int | None:
    """Lock a GPU; return the open file that holds the lock, or None if another process has it.

    A shared lock is inherited through exec and held until the process ends.
    """
    descriptor = os.open(_file(gpu), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    if how == fcntl.LOCK_SH:
        os.set_inheritable(descriptor, True)
        os.register_at_fork(after_in_child=lambda: os.close(descriptor))
    return descriptor


def _file(gpu: str) -> Path:
    """Return the lock file of a GPU, in a folder of this user alone."""
    folder = Path(tempfile.gettempdir(), f"i2crc-gpus-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.lstat().st_uid != os.getuid():
        raise InputError(
            f"{folder}: belongs to another user, so GPUs cannot be leased in it; remove it, or set "
            "TMPDIR to a folder of your own"
        )
    return folder / f"gpu-{quote(gpu, safe='')}"
