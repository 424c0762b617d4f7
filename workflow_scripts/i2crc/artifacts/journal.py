"""The journal of a shard: which images are made, and from what."""

import json
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from i2crc.runtime.atomic import digest_file, write_bytes
from i2crc.runtime.errors import naming


@dataclass(frozen=True)
class FileRecord:
    """SHA-256 and size in bytes of a file."""

    sha256: str
    bytes: int


class Journal:
    """One JSON line per finished image, appended as the images are made.

    The journal survives a kill, and Snakemake does not know it, so it is still there when a job
    starts again. A shard that has no journal yet (the number of shards was changed) reads those of
    its folder. The last line may hold the provenance of the finished shard.
    """

    def __init__(self, path: Path, folder: Path, image_ids: Collection[str]) -> None:
        self.path, self.folder = path, folder
        self.provenance: dict[str, Any] | None = None
        self._done: dict[str, tuple[str, dict[str, FileRecord]]] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            self._read(path)
            return
        for other in sorted(path.parent.glob("*.journal")):
            self._read(other)
        self.provenance = None
        taken_over = [_line(i, *self._done[i]) for i in image_ids if i in self._done]
        # Not empty, so that a block is allocated: images must not fill the disk before one is noted.
        write_bytes(path, "\n".join([*taken_over, "", ""]).encode())

    def files(self, image_id: str, key: str) -> dict[str, FileRecord] | None:
        """Return the files made of an image under `key`, or None if one is missing or resized."""
        done_key, files = self._done.get(image_id, ("", {}))
        if done_key != key or not files:
            return None
        for name, record in files.items():
            try:
                if os.stat(self.folder / name).st_size != record.bytes:
                    return None
            except OSError:
                return None
        return files

    def add(self, image_id: str, key: str, names: Sequence[str]) -> dict[str, FileRecord]:
        """Note that the files `names` were made of an image; return their records."""
        paths = {name: self.folder / name for name in names}
        files = {n: FileRecord(digest_file(p), p.stat().st_size) for n, p in paths.items()}
        self._append(_line(image_id, key, files))
        return files

    def finish(self, provenance: dict[str, Any]) -> None:
        """Note the provenance of the finished shard."""
        self._append(json.dumps({"provenance": provenance}))

    def _append(self, line: str) -> None:
        with naming(self.path), open(self.path, "ab+") as file:
            # A kill may have truncated the last line; start on a new one.
            if file.tell():
                file.seek(-1, os.SEEK_END)
                line = line if file.read(1) == b"\n" else f"\n{line}"
            file.write(f"{line}\n".encode())

    def _read(self, source: Path) -> None:
        for entry in _entries(source):
            # Ignore lines that hold something else.
            with suppress(LookupError, TypeError):
                if "provenance" in entry:
                    self.provenance = dict(entry["provenance"])
                else:
                    files = {name: FileRecord(**one) for name, one in entry["files"].items()}
                    self._done[entry["id"]] = (entry["key"], files)


def _line(image_id: str, key: str, files: dict[str, FileRecord]) -> str:
    records = {name: asdict(record) for name, record in files.items()}
    return json.dumps({"id": image_id, "key": key, "files": records})


def journal_ids(path: Path) -> set[str]:
    """Return the ids of the images that a journal notes; empty if there is no readable journal."""
    ids = set()
    with suppress(OSError):
        for entry in _entries(path):
            if "id" in entry:
                ids.add(str(entry["id"]))
    return ids


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of a journal; ignore those that are truncated or not valid JSON."""
    for line in path.read_bytes().splitlines():
        with suppress(ValueError, RecursionError):
            entry = json.loads(line)
            if isinstance(entry, dict):
                yield entry
