"""The journal of a shard: which images are finished, and what their files were made from."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from i2crc.artifacts.neighbours import in_neighbours, take
from i2crc.artifacts.schemas import RelativeName, Schema
from i2crc.runtime.atomic import digest_file, write_bytes
from i2crc.runtime.errors import counted, naming
from i2crc.runtime.log import log


@dataclass(frozen=True, slots=True)
class FileRecord:
    """SHA-256, size in bytes and time stamp of a file; a time stamp of 0 means unknown."""

    sha256: str
    bytes: int
    mtime_ns: int = 0

    def matches(self, path: Path) -> bool:
        """Return whether `path` is the recorded file. Only a touched file is read."""
        try:
            status = os.stat(path)
            if status.st_size != self.bytes:
                return False
            return status.st_mtime_ns == self.mtime_ns or digest_file(path) == self.sha256
        except OSError:
            return False


class ImageEntry(Schema):
    """A line of a journal: the files of an image (name below the folder -> record).

    `key` is the digest of everything that the files were made from.
    """

    id: str
    key: str
    files: dict[RelativeName, FileRecord]


class ShardEntry(Schema):
    """A line of a journal: the provenance of the finished shard whose content is `made_of`."""

    made_of: str
    provenance: dict[str, Any]


class Journal:
    """The journal at `path`: one JSON line per finished image, appended while images are made.

    The journal survives a kill. Snakemake does not delete it before a job starts, because it is
    not an output. `folder` holds the files of the images.
    """

    def __init__(self, path: Path, folder: Path) -> None:
        self.path, self.folder = path, folder
        self.sources: list[Path] = []  # journals of other experiments
        if not path.is_file():
            # Not empty, so that a block is allocated: images must not fill the disk before one is
            # noted.
            write_bytes(path, b"\n")

    def finished(self, keys: Mapping[str, str]) -> dict[str, dict[str, FileRecord]]:
        """Return the files of the images (id -> key) that are finished and undamaged.

        What this journal lacks is taken over from the other journals of its folder, which are left
        there when the number of shards is changed, and from those of the experiments beside this
        one, with the files.
        """
        found = self._search(self.path, self.folder, keys)
        inner = os.path.relpath(self.folder, self.path.parent)
        own = [path for path in sorted(self.path.parent.glob("[!.]*.journal")) if path != self.path]
        # With the same number of shards, a shard has the same images everywhere.
        for other in [*own, *in_neighbours(self.path)]:
            missing = {image_id: key for image_id, key in keys.items() if image_id not in found}
            if not missing:
                break
            taken: dict[str, dict[str, FileRecord]] = {}
            with suppress(OSError):  # somebody deletes it just now, or may read it alone
                taken = self._take(other, other.parent / inner, missing)
            self._append(*(_image_line(i, keys[i], files) for i, files in taken.items()))
            found |= taken
        return found

    def add(self, image_id: str, key: str, names: Sequence[str]) -> dict[str, FileRecord]:
        """Note that the files `names` are finished; return their records."""
        files = {}
        for name in names:
            path = self.folder / name
            status = os.stat(path)
            files[name] = FileRecord(digest_file(path), status.st_size, status.st_mtime_ns)
        self._append(_image_line(image_id, key, files))
        return files

    def provenance(self, made_of: str) -> dict[str, Any] | None:
        """Return the provenance that was last noted with this `made_of`, or None.

        The journals of other experiments, whose files were taken over, are asked after this one.
        """
        for path in (self.path, *self.sources):
            for line in reversed(_lines(path)):
                with suppress(ValidationError):
                    entry = ShardEntry.model_validate_json(line)
                    if entry.made_of == made_of:
                        if path != self.path:
                            self.finish(made_of, entry.provenance)
                        return entry.provenance
        return None

    def finish(self, made_of: str, provenance: dict[str, Any]) -> None:
        """Note the provenance of the finished shard."""
        self._append(json.dumps({"made_of": made_of, "provenance": provenance}))

    def _take(
        self, path: Path, folder: Path, keys: Mapping[str, str]
    ) -> dict[str, dict[str, FileRecord]]:
        """Return what `_search` finds, whose files are then in the folder of this journal."""
        found = self._search(path, folder, keys)
        if folder == self.folder:
            return found
        taken = {}
        for image_id, files in found.items():
            with suppress(FileNotFoundError):  # somebody deletes them just now
                for name in files:
                    take(folder / name, self.folder / name)
            # Or replaced them since they were looked at.
            if all(record.matches(self.folder / name) for name, record in files.items()):
                taken[image_id] = files
        if taken:
            log.info("%s: %s taken over", path, counted(len(taken), "image"))
            self.sources.append(path)
        return taken

    def _search(
        self, path: Path, folder: Path, keys: Mapping[str, str]
    ) -> dict[str, dict[str, FileRecord]]:
        """Return the undamaged files below `folder` that the journal at `path` notes for `keys`."""
        noted = {e.id: e.files for e in _image_entries(path) if keys.get(e.id) == e.key}
        return {
            image_id: files
            for image_id, files in noted.items()
            if all(record.matches(folder / name) for name, record in files.items())
        }

    def _append(self, *lines: str) -> None:
        with naming(self.path), open(self.path, "ab+") as file:
            # A kill may have truncated the last line; start on a new one.
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    file.write(b"\n")
            file.write("".join(f"{line}\n" for line in lines).encode())


def _image_entries(path: Path) -> Iterator[ImageEntry]:
    """Yield the images that a journal notes; ignore lines that are truncated or of another form."""
    for line in _lines(path):
        with suppress(ValidationError):
            yield ImageEntry.model_validate_json(line)


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines()


def _image_line(image_id: str, key: str, files: dict[str, FileRecord]) -> str:
    records = {name: asdict(record) for name, record in files.items()}
    return json.dumps({"id": image_id, "key": key, "files": records})
