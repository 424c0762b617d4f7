"""What the nodes of a SLURM have."""

import re
import subprocess
from dataclasses import dataclass

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
    """The most of each that any node has; None where no SLURM answers.

    A job that asks for more would be refused, or wait for ever.
    """
    try:
        listed = subprocess.run(
            ["sinfo", "--Node", "--noheader", "--format=%c|%m|%G"],
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    rows = [line.split("|") for line in listed.stdout.splitlines() if line.count("|") == 2]
    if not rows:
        return None
    cpus, memory, generic = zip(*rows, strict=True)
    return Node(max(map(_number, cpus)), max(map(_number, memory)), max(map(_gpus, generic)))


def _number(text: str) -> int:
    return int(re.match(r"\d+", text)[0])


def _gpus(generic: str) -> int:
    """Those among `gpu:a100:4(S:0-1),gpu:2,shard:8`."""
    return sum(map(int, re.findall(r"\bgpu:(?:[^:,()]+:)?(\d+)", generic)))
