"""Lease GPUs, so that jobs side by side on one machine use different ones."""

import errno
import os
import random
import re
import socket
import subprocess
import time
from itertools import takewhile

from i2crc.runtime.errors import InputError
from i2crc.runtime.log import log

VISIBLE = "CUDA_VISIBLE_DEVICES"
# In a job of SLURM, PBS, LSF, SGE or Kubernetes, the visible GPUs are those assigned to the job.
SCHEDULERS = {"SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID", "KUBERNETES_SERVICE_HOST"}
# GPU -> the lock that this process holds until it ends. Its forks do not keep it.
_held: dict[str, socket.socket] = {}
os.register_at_fork(after_in_child=_held.clear)


def lease(count: int) -> None:
    """Lease `count` GPUs that no other job has; this process and its children see only these.

    Wait until `count` are free at the same time. The lease ends with this process, even if it is
    killed. A program that the process becomes (exec) keeps it. With 0, no GPU is visible. Nothing
    changes on a machine without GPUs, in a scheduler's job, and in the processes of torchrun,
    which holds the lease for them. Call this before CUDA starts. Raise InputError if there are
    fewer GPUs.
    """
    if count == 0:
        os.environ[VISIBLE] = ""
        return
    gpus = pool()
    if not gpus or "RANK" in os.environ:
        return
    if count > len(gpus):
        raise InputError(
            f"--gpus {count}: more than there are here, {len(gpus)} ({', '.join(gpus)}); give "
            f"--gpus {len(gpus)} (to the whole workflow: --resources gpu={len(gpus)}) or less, or "
            f"more of them in {VISIBLE}"
        )
    is_waiting = False
    while not _take(gpus, count):
        if not is_waiting:
            log.info("waiting for %d of the GPUs %s", count, ", ".join(gpus))
        is_waiting = True
        # Two jobs that each found some of the GPUs free must not try again at the same moment.
        time.sleep(random.uniform(0.2, 0.8))
    os.environ[VISIBLE] = ",".join(_held)
    log.info("leased %d of the GPUs %s: %s", count, ", ".join(gpus), ", ".join(_held))


def _take(gpus: list[str], count: int) -> bool:
    """Lock the first `count` free GPUs; lock none and return False if fewer are free.

    A lock is a socket with a name of Linux's abstract namespace, which is in no folder. Two
    processes cannot have the same one, and the kernel frees it with the process.
    """
    for gpu in gpus:
        lock = socket.socket(socket.AF_UNIX)
        os.set_inheritable(lock.fileno(), True)
        try:
            lock.bind(f"\0i2crc-gpu-{gpu}")
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            continue
        _held[gpu] = lock
        if len(_held) == count:
            return True
    _held.clear()
    return False


def pool() -> list[str]:
    """Return the GPUs to share out: those in CUDA_VISIBLE_DEVICES, else all of this machine.

    None in a scheduler's job. The driver's own program lists those of the machine: torch loads
    slowly, and asking CUDA would start it.
    """
    if not SCHEDULERS.isdisjoint(os.environ):
        return []
    if VISIBLE in os.environ:
        ids = [word.strip() for word in os.environ[VISIBLE].split(",")]
        # CUDA, too, ends the list at an entry that is empty or negative.
        return list(dict.fromkeys(takewhile(lambda word: word and word[0] != "-", ids)))
    command = ["nvidia-smi", "--list-gpus"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout
    except (OSError, subprocess.TimeoutExpired):
        return []
    return re.findall(r"^GPU (\d+): ", listed, re.MULTILINE)


def jobs_at_a_time() -> int:
    """Return how many jobs of one GPU each a workflow may run on this machine at the same time.

    1 without GPUs, where the jobs run on the CPU, and 1 in a scheduler's job, where nothing is
    leased.
    """
    return max(1, len(pool()))
