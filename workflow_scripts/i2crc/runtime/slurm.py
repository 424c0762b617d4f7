"""What the nodes of a SLURM have."""

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
    """The most of each that any node has; None where there is no SLURM, or one that shows none.

    A job that asks for more would be refused, or wait for ever. Raises InputError where SLURM does
    not answer.
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
        raise _silence(f"sinfo said nothing for {SECONDS} seconds") from None
    if listed.returncode:
        raise _silence(listed.stderr.strip().rpartition("\n")[2])
    rows = [line.split("|") for line in listed.stdout.splitlines() if line.count("|") == 2]
    if not rows:
        return None
    cpus, memory, generic = zip(*rows, strict=True)
    return Node(max(map(_number, cpus)), max(map(_number, memory)), max(map(_gpus, generic)))


def _silence(why: str) -> InputError:
    return InputError(
        f"SLURM does not answer, so what its nodes have is not known ({why}): start the same "
        "command again when it does"
    )


def _number(text: str) -> int:
    return int(re.match(r"\d+", text)[0])


def _gpus(generic: str) -> int:
    """Those among `gpu:a100:4(S:0-1),gpu:2,shard:8`."""
    return sum(map(int, re.findall(r"\bgpu:(?:[^:,()]+:)?(\d+)", generic)))
