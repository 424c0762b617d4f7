"""What is remembered of decoded files, where several processes share the memory."""

import errno
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from i2crc.artifacts import findings
from i2crc.artifacts.findings import Findings

FILES = 50


@pytest.fixture
def refuse(monkeypatch) -> Callable[[int], None]:
    """Let every writing end with an error of the operating system."""

    def set_error(number: int) -> None:
        def write(path: Path, value: dict) -> None:
            raise OSError(number, os.strerror(number), str(path))

        monkeypatch.setattr(findings, "write_json", write)

    return set_error


def look_and_save(folder: Path) -> int:
    """How many of all files were known, in the run of many that knew the fewest."""
    fewest = FILES
    for _ in range(50):
        shared = Findings(folder / "shared" / "findings", "key")
        for number in range(FILES):
            shared.of(folder / str(number), "kind", lambda path: {"name": path.name})
        fewest = min(fewest, shared.remembered)
        shared.save()
    return fewest


def test_processes_that_share_a_memory_read_it_whole(tmp_path):
    for number in range(FILES):
        (tmp_path / str(number)).write_text(str(number))
    look_and_save(tmp_path)
    with ProcessPoolExecutor(3) as pool:
        assert list(pool.map(look_and_save, [tmp_path] * 3)) == [FILES] * 3
    assert [path.name for path in (tmp_path / "shared").iterdir()] == ["findings"]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_memory_that_is_read_only_stops_nobody(tmp_path, refuse, caplog, number):
    refuse(number)
    Findings(tmp_path / "findings").save()
    assert "findings: not remembered for the next run" in caplog.text


def test_a_full_disk_is_told(tmp_path, refuse):
    refuse(errno.ENOSPC)
    with pytest.raises(OSError, match="No space"):
        Findings(tmp_path / "findings").save()
