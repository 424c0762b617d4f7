"""Processes and devices: the same script runs on the CPU, one GPU, or several under torchrun."""

import ctypes
import logging
import os
import resource
from typing import Any

import torch
import torch.distributed as dist

from i2crc.runtime.errors import counted
from i2crc.runtime.log import log


def start(gpus: int, threads: int, deterministic: bool = False) -> torch.device:
    """Set the threads, join the process group under torchrun, and return the device.

    `gpus` is 0 for the CPU, `threads` are those of all processes on this machine. With
    `deterministic`, torch uses deterministic kernels only, and raises an error if there is none.
    """
    torch.set_num_threads(max(1, threads // int(os.environ.get("LOCAL_WORLD_SIZE", 1))))
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # before CUDA starts
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False  # the fastest kernel may differ between runs
    torch.backends.cudnn.allow_tf32 = False  # compute float32 in full precision
    keep_memory()
    device = torch.device("cpu")
    if gpus and torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        torch.cuda.set_device(device)
    if "RANK" in os.environ and not dist.is_initialized():
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    if is_main():
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
        processes = counted(world_size(), "process", "processes")
        log.info("%s, %s, %s each", name, processes, counted(torch.get_num_threads(), "thread"))
    else:
        log.setLevel(logging.WARNING)  # the first process logs for all
    return device


def keep_memory() -> None:
    """Keep freed memory in the process instead of returning it to the system (glibc only).

    Otherwise every operation maps the memory of large tensors anew.
    """
    trim_threshold, mmap_max = -1, -4  # constants of malloc.h in glibc
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(mmap_max, 0)
        libc.mallopt(trim_threshold, 2**31 - 1)


def world_size() -> int:
    """Return the number of processes of this training."""
    return int(os.environ.get("WORLD_SIZE", 1))


def rank() -> int:
    """Return the number of this process, from 0."""
    return int(os.environ.get("RANK", 0))


def is_main() -> bool:
    """Return whether this process is the one that writes files and log lines."""
    return rank() == 0


def mean_count(count: torch.Tensor) -> torch.Tensor:
    """Return a count, averaged over the processes (see losses.py)."""
    if dist.is_initialized():
        count = count.detach().clone()
        dist.all_reduce(count)
        count /= world_size()
    return count


def gather(items: list[Any]) -> list[Any]:
    """Return the items of all processes, in the order of their ranks."""
    if not dist.is_initialized():
        return items
    lists: list[Any] = [None] * world_size()
    dist.all_gather_object(lists, items)
    return [item for part in lists for item in part]


def any_process(*flags: bool) -> list[bool]:
    """Return of each flag whether it is true in any process; this does not wait for a GPU."""
    values = torch.tensor(flags, dtype=torch.uint8)
    if dist.is_initialized():
        dist.all_reduce(values, op=dist.ReduceOp.MAX)
    return values.bool().tolist()


def memory_gib(device: torch.device) -> float:
    """Return the peak memory of this process in GiB: of the GPU, or resident on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
