"""The size of SLURM's nodes."""

import re
import subprocess
from typing import NamedTuple

from i2crc.runtime.errors import InputError

SECONDS = 60


class Node(NamedTuple):
    """CPUs, memory in MB (as SLURM counts it) and GPUs of a node."""

    cpus: int
    memory: int
    gpus: int


def largest_node() -> Node | None:
    """Return the largest number of CPUs, MB and GPUs of any node; None without SLURM or nodes.

    SLURM refuses a job that asks for more, or lets it wait for ever. Raises InputError if SLURM
    does not answer.
    """
    command = ["sinfo", "--Node", "--noheader", "--format=%c|%m|%G"]
    try:
        listed = subprocess.run(
            command, capture_output=True, text=True, timeout=SECONDS, check=True
        ).stdout
    except OSError:
        return None
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        reason = str(error.stderr or error).strip()
        raise InputError(
            f"SLURM does not answer, so the size of its nodes is unknown ({reason}): start the "
            "same command again when it does"
        ) from None
    # Lines like `128|515000+|gpu:a100:4(S:0-1),gpu:2,shard:8`.
    rows = re.findall(r"^(\d+)\+?\|(\d+)\+?\|(.*)$", listed, re.MULTILINE)
    if not rows:
        return None
    cpus, memory, others = zip(*rows, strict=True)
    gpus = [sum(map(int, re.findall(r"\bgpu:(?:[^:,()]+:)?(\d+)", text))) for text in others]
    return Node(max(map(int, cpus)), max(map(int, memory)), max(gpus))
