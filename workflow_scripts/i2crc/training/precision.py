"""The types that a training computes in, and which of them a device is faster with."""

from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import torch

from i2crc.runtime.log import log

PRECISIONS = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
# What the kernel calls the bf16 units of a CPU: of x86, of ARM.
BF16_UNITS = {"avx512_bf16", "amx_bf16", "bf16"}
TIMED_STEPS = 3
# bf16 rounds more coarsely, so a difference that may be noise is not enough.
LEAST_GAIN = 1.1


def choose_precision(setting: str, device: torch.device) -> str:
    """Return the name of the type to compute in, a key of PRECISIONS."""
    if device.type == "cpu" and setting == "tf32":
        log.info("precision tf32 is a type of GPUs: on the CPU the training computes in fp32")
    if device.type == "cpu" and setting in ("auto", "tf32"):
        return "fp32"
    if setting != "auto":
        return setting
    return "bf16" if torch.cuda.is_bf16_supported(False) else "fp16"


def has_bf16_units() -> bool:
    """Return whether the CPU has units for products of bf16; others imitate them slowly."""
    info = Path("/proc/cpuinfo")
    return info.is_file() and not BF16_UNITS.isdisjoint(info.read_text().split())


def seconds_of_steps(step: Callable[[str], None]) -> tuple[float, float]:
    """Return the seconds of `step` in fp32 and in bf16: of each the quickest of a few calls.

    The calls alternate, because other programs may slow some of them down.
    """
    seconds: dict[str, list[float]] = {"fp32": [], "bf16": []}
    for _ in range(1 + TIMED_STEPS):
        for precision, measured in seconds.items():
            begin = perf_counter()
            step(precision)
            measured.append(perf_counter() - begin)
    # The first calls prepare the kernels.
    return min(seconds["fp32"][1:]), min(seconds["bf16"][1:])
