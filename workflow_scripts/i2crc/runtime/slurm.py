"""The size of SLURM's nodes."""

import re
import subprocess
from dataclasses import dataclass

from i2crc.runtime.errors import InputError

SECONDS = 60


@dataclass(frozen=True)
class Node:
    """CPUs, memory in MB (as SLURM counts it) and GPUs of a node."""

    cpus: int
    memory: int
    gpus: int

    def __str__(self) -> str:
        return f"{self.cpus} CPUs, {self.memory} MB and {self.gpus} GPUs"


def largest_node() -> Node | None:
    """Return the largest number of CPUs, MB and GPUs of any node; None without SLURM or nodes.

    SLURM refuses a job that asks for more, or lets it wait for ever. Raises InputError if SLURM
    does not answer.
    """
    try:
        listed = subprocess.run(
            ["sinfo", "--Node", "--noheader", "--format=%c|%m|%G"],
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
    except OSError:
        return None
    except subprocess.TimeoutExpired:
        raise _no_answer(f"sinfo printed nothing in {SECONDS} seconds") from None
    if listed.returncode:
        raise _no_answer(listed.stderr.strip().rpartition("\n")[2])
    rows = [line.split("|") for line in listed.stdout.splitlines() if line.count("|") == 2]
    if not rows:
        return None
    cpus, memory, resources = zip(*rows, strict=True)
    return Node(max(map(_number, cpus)), max(map(_number, memory)), max(map(_gpus, resources)))


def _no_answer(reason: str) -> InputError:
    return InputError(
        f"SLURM does not answer, so the size of its nodes is unknown ({reason}): start the same "
        "command again when it does"
    )


def _number(text: str) -> int:
    return int(re.split(r"\D", text, maxsplit=1)[0])


def _gpus(resources: str) -> int:
    """Return the number of GPUs in a list like `gpu:a100:4(S:0-1),gpu:2,shard:8`."""
    return sum(map(int, re.findall(r"\bgpu:(?:[^:,()]+:)?(\d+)", resources)))
