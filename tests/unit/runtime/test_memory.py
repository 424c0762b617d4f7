"""The free memory, on a machine and in control groups of both versions."""

from pathlib import Path

import pytest

from i2crc.runtime import memory

KIB_AVAILABLE = 8_000_000


@pytest.fixture
def group(tmp_path, monkeypatch):
    """Return a function that puts this process into a control group; it returns its folder."""
    monkeypatch.setattr(memory, "PROC", tmp_path / "proc")
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text(f"MemTotal: 9 kB\nMemAvailable: {KIB_AVAILABLE} kB\n")
    (tmp_path / "proc/self/cgroup").write_text("")
    places = {key: (tmp_path / "groups", *names) for key, (_, *names) in memory.CGROUPS.items()}
    monkeypatch.setattr(memory, "CGROUPS", places)

    def enter(controllers: str, folder: str, limit: str, used: int, stat: str) -> None:
        (tmp_path / "proc/self/cgroup").write_text(f"3:cpu:/x\n4:{controllers}:/a/b\n")
        place, limit_name, used_name = Path(tmp_path, "groups", folder), *places[controllers][1:]
        place.mkdir(parents=True, exist_ok=True)
        (place / limit_name).write_text(f"{limit}\n")
        (place / used_name).write_text(f"{used}\n")
        (place / "memory.stat").write_text(stat)

    return enter


def test_a_machine_without_limits(group):
    assert memory.free_memory() == KIB_AVAILABLE * 1024


@pytest.mark.parametrize("folder", ["a/b", "a", "."])
@pytest.mark.parametrize(
    ("controllers", "stat"),
    [
        ("", "anon 5\ninactive_file 100\n"),
        ("memory", "inactive_file 1\ntotal_inactive_file 100\n"),
    ],
)
def test_the_limit_of_a_group_or_of_one_around_it(group, folder, controllers, stat):
    group(controllers, folder, "5000", 2000, stat)
    assert memory.free_memory() == 5000 - 2000 + 100


def test_a_group_without_limit(group):
    group("", "a/b", "max", 2000, "inactive_file 100\n")
    assert memory.free_memory() == KIB_AVAILABLE * 1024
