"""The lease of GPUs: jobs side by side on one machine get different ones."""

import logging
import os
import re
import subprocess
import tempfile
import time
from itertools import takewhile
from pathlib import Path
from urllib.parse import quote

from i2crc.runtime.errors import InputError
from i2crc.runtime.locks import Lock

log = logging.getLogger("i2crc")
VISIBLE = "CUDA_VISIBLE_DEVICES"
# In a job of SLURM, PBS, LSF, SGE or Kubernetes, what can be seen is what was assigned to it.
SCHEDULERS = {"SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID", "KUBERNETES_SERVICE_HOST"}
SECONDS_BETWEEN_LOOKS = 0.5


def lease(count: int) -> None:
    """Let this process, and what it starts, see `count` GPUs that no other job has leased.

    Waits until so many are free at once. They are leased until this process ends, whatever ends
    it; a program that it becomes (exec), and torchrun's processes, keep them. With 0, no GPU is
    seen. Without GPUs, and where a scheduler has assigned them, all stays as it is. To be called
    before CUDA starts. InputError where there are not that many.
    """
    if count == 0:
        os.environ[VISIBLE] = ""
        return
    gpus = [] if _is_scheduled() else pool()
    if not gpus:
        return
    if "RANK" in os.environ:
        _keep(gpus)
        return
    if count > len(gpus):
        raise InputError(
            f"--gpus {count}: more than there are here, {len(gpus)} ({', '.join(gpus)}); give "
            f"--gpus {len(gpus)} (to the whole workflow: --resources gpu={len(gpus)}) or less, or "
            f"more of them in {VISIBLE}"
        )
    folder = _folder()
    locks, turn = {gpu: _lock(folder, gpu) for gpu in gpus}, Lock(folder / "turn")
    told = False
    while len(leased := _take(locks, count, turn)) < count:
        if not told:
            holders = [
                f"{gpu}: {lock.holder()}" for gpu, lock in locks.items() if gpu not in leased
            ]
            log.info("waiting for %d of the GPUs %s", count, "; ".join(holders))
            told = True
        time.sleep(SECONDS_BETWEEN_LOOKS)
    os.environ[VISIBLE] = ",".join(leased)
    log.info("leased %d of the GPUs %s: %s", count, ", ".join(gpus), ", ".join(leased))


def pool() -> list[str]:
    """The GPUs to share out: those in CUDA_VISIBLE_DEVICES, else all of this machine.

    These the driver's own program tells: torch is slow to load, and to ask CUDA would start it.
    """
    visible = os.environ.get(VISIBLE)
    if visible is None:
        return _discovered()
    ids = [word.strip() for word in visible.split(",")]
    # For CUDA, too, the list ends where one is none: empty, or negative.
    named = takewhile(lambda word: word and word[0] != "-", ids)
    return list(dict.fromkeys(named))


def jobs_at_a_time() -> int:
    """How many jobs with one GPU each a workflow may run on this machine at the same time.

    One without GPUs, where they run on the CPU, and one within a scheduler's job, where no lease
    would keep them apart.
    """
    return 1 if _is_scheduled() else max(1, len(pool()))


def _is_scheduled() -> bool:
    return not SCHEDULERS.isdisjoint(os.environ)


def _discovered() -> list[str]:
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--list-gpus"], capture_output=True, text=True, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return re.findall(r"^GPU (\d+): ", listed.stdout, re.MULTILINE)


def _folder() -> Path:
    """The folder of this user's locks."""
    folder = Path(tempfile.gettempdir(), f"i2crc-gpus-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.lstat().st_uid != os.getuid():
        raise InputError(
            f"{folder}: belongs to another user, so GPUs cannot be leased in it; remove it, or set "
            "TMPDIR to a folder of your own"
        )
    return folder


def _lock(folder: Path, gpu: str) -> Lock:
    return Lock(folder / f"gpu-{quote(gpu, safe='')}")


def _take(locks: dict[str, Lock], count: int, turn: Lock) -> list[str]:
    """Take `count` GPUs and return them; where fewer are free, take none and return the free."""
    turn.wait()  # two that each find some free would both give up, again and again
    free = [gpu for gpu, lock in locks.items() if lock.take()]
    taken = free[:count] if len(free) >= count else []
    for gpu in free:
        if gpu in taken:
            locks[gpu].share()
        else:
            locks[gpu].release()
    turn.release()
    return taken or free


def _keep(gpus: list[str]) -> None:
    """Hold the GPU of this process of torchrun with it, in case that dies first."""
    local_rank = int(os.environ.get("LOCAL_RANK", 0))
    for gpu in gpus[local_rank : local_rank + 1]:
        _lock(_folder(), gpu).share()
