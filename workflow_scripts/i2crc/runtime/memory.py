"""How much memory is free."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
# Controllers in /proc/self/cgroup -> where its groups are, and the names of limit and use. The
# first are those of control groups version 2.
CGROUPS = {
    "": (Path("/sys/fs/cgroup"), "memory.max", "memory.current"),
    "memory": (
        Path("/sys/fs/cgroup/memory"),
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
    ),
}


def free_memory() -> int:
    """Return the bytes that are free, on this machine and in this process's control groups.

    Containers and schedulers set limits for control groups.
    """
    lines = (PROC / "meminfo").read_text().splitlines()
    (available,) = (int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    return min([available * 1024, *_free_in_groups()])


def _free_in_groups() -> Iterator[int]:
    for line in (PROC / "self/cgroup").read_text().splitlines():
        _, controllers, name = line.split(":", 2)
        root, limit, used = CGROUPS.get(controllers, (PROC, "", ""))
        group = root / name.lstrip("/")
        for folder in (group, *group.parents):
            # Not mounted, or without a limit (`max`).
            with suppress(OSError, ValueError):
                total = int((folder / limit).read_text())
                # Files in the cache count as used, but the kernel drops them when it needs room.
                stat = dict(map(str.split, (folder / "memory.stat").read_text().splitlines()))
                cached = int(stat.get("total_inactive_file", stat["inactive_file"]))
                yield total - int((folder / used).read_text()) + cached
