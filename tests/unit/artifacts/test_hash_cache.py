"""What is remembered of the user's files, also where several processes share the memory."""

import errno
import json
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from i2crc.artifacts import hash_cache
from i2crc.artifacts.hash_cache import HashCache
from i2crc.runtime.atomic import digest_bytes
from i2crc.runtime.errors import FileError

FILES = 50


@pytest.fixture
def refuse(monkeypatch) -> Callable[[int], None]:
    """Let every writing end with an error of the operating system."""

    def set_error(number: int) -> None:
        def write(path: Path, value: dict) -> None:
            raise OSError(number, os.strerror(number), str(path))

        monkeypatch.setattr(hash_cache, "write_json", write)

    return set_error


class Looker:
    """One run after the other that looks at the same photograph."""

    def __init__(self, root: Path) -> None:
        self.memory, self.file = root / "memory.json", root / "a.jpg"
        self.file.write_bytes(b"photo")
        self.looked = 0

    def look(self, path: Path) -> dict:
        self.looked += 1
        content = path.read_bytes()
        if content == b"broken":
            raise FileError(path, "not an image", "replace it")
        return {"length": len(content)}

    def run(self, key: str = "key", kind: str = "photo") -> dict:
        cache = HashCache(self.memory, key)
        try:
            facts = cache.facts(self.file, kind, self.look)
        finally:
            cache.save()
        return {name: facts[name] for name in ("length", "sha256")}


@pytest.fixture
def looker(tmp_path):
    return Looker(tmp_path)


def test_a_file_is_decoded_once(looker, monkeypatch):
    facts = looker.run()
    assert facts == {"length": 5, "sha256": digest_bytes(b"photo")}
    monkeypatch.setattr(hash_cache, "digest_file", None)  # nor is it read again
    assert looker.run() == facts
    assert looker.looked == 1


def test_a_touched_file_is_not_decoded_again(looker):
    facts = looker.run()
    os.utime(looker.file, (1, 1))
    assert looker.run() == facts
    assert looker.looked == 1


def test_other_content_another_key_and_another_kind_are_decoded(looker):
    looker.run()
    looker.file.write_bytes(b"other!")
    assert looker.run() == {"length": 6, "sha256": digest_bytes(b"other!")}
    looker.run(key="new")
    looker.run(key="new", kind="mask")
    assert looker.looked == 4


def test_problems_are_remembered_until_the_content_changes(looker):
    looker.file.write_bytes(b"broken")
    for _ in range(2):
        with pytest.raises(FileError, match=r"a\.jpg: not an image; replace it"):
            looker.run()
    assert looker.looked == 1
    looker.file.write_bytes(b"photo")
    assert looker.run()["length"] == 5


def test_a_missing_file_is_explained_by_who_looks(looker):
    looker.file.unlink()
    with pytest.raises(FileNotFoundError):
        looker.run()


def test_files_that_are_no_longer_asked_for_are_dropped(looker, tmp_path):
    looker.run()
    looker.file = tmp_path / "b.jpg"
    looker.file.write_bytes(b"photo")
    looker.run()
    assert list(json.loads(looker.memory.read_text())["files"]) == [f"photo {looker.file}"]


def look_and_save(folder: Path) -> int:
    """How many of all files were known, in the run of many that knew the fewest."""
    fewest = FILES
    for _ in range(50):
        shared = HashCache(folder / "shared" / "memory", "key")
        for number in range(FILES):
            shared.facts(folder / str(number), "kind", lambda path: {"name": path.name})
        fewest = min(fewest, shared.remembered)
        shared.save()
    return fewest


def test_processes_that_share_a_memory_read_it_whole(tmp_path):
    for number in range(FILES):
        (tmp_path / str(number)).write_text(str(number))
    look_and_save(tmp_path)
    with ProcessPoolExecutor(3) as pool:
        assert list(pool.map(look_and_save, [tmp_path] * 3)) == [FILES] * 3
    assert [path.name for path in (tmp_path / "shared").iterdir()] == ["memory"]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_memory_that_is_read_only_stops_nobody(tmp_path, refuse, caplog, number):
    refuse(number)
    HashCache(tmp_path / "memory").save()
    assert "memory: not remembered for the next run" in caplog.text


def test_a_full_disk_is_an_error(tmp_path, refuse):
    refuse(errno.ENOSPC)
    with pytest.raises(OSError, match="No space"):
        HashCache(tmp_path / "memory").save()
