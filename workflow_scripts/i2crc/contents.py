"""What files contain, told without reading those again that have not changed."""

import functools
import json
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from i2crc.artifacts import Manifest, Shape, checked, read_checked
from i2crc.files import digest_file, digest_value, read_json, write_bytes
from i2crc.manifests import is_removed, read_manifests
from i2crc.provenance import content_digest, provenance_file

READERS = 8
Stat = tuple[int, int]  # size in bytes, time stamp in nanoseconds


def stat_of(path: Path) -> Stat | None:
    """Size and time stamp of a file, or None where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


class Contents:
    """SHA-256 of files, remembered in a JSON file by size and time stamp.

    A file of the same size and time stamp is not read again, so that the digest of a large data
    set costs a look at its folder; a touched file is read once and found to be the same.
    """

    def __init__(self, memory: Path) -> None:
        self.memory = memory
        self.known: dict[str, list[Any]] = {}
        # Nothing remembered, or a damaged memory: every file is read.
        with suppress(OSError, ValueError, RecursionError, AttributeError, TypeError):
            known = json.loads(memory.read_text())
            self.known = {path: list(entry) for path, entry in known.items() if len(entry) == 3}
        self.changed = False

    def digests(self, paths: Iterable[Path]) -> dict[str, str]:
        """Path -> SHA-256 of each file that is there."""
        stats = {str(path): stat for path in paths if (stat := stat_of(path))}
        new = [p for p, stat in stats.items() if self.known.get(p, [])[:2] != list(stat)]
        with ThreadPoolExecutor(READERS) as pool:
            for path, sha in zip(new, pool.map(digest_file, new), strict=True):
                self.known[path] = [*stats[path], sha]
                self.changed = True
        return {path: self.known[path][2] for path in stats}

    def save(self) -> None:
        """Remember what was read."""
        if self.changed:
            write_bytes(self.memory, json.dumps(self.known).encode())
            self.changed = False


def artifact_contents(paths: Iterable[Path]) -> dict[str, str]:
    """What a stage reads -> digest of its content, whatever the number of shards and the time.

    The manifests of one folder count as one, of all their files; JSON artifacts without their
    provenance; what is missing as such.
    """
    found: dict[str, str] = {}
    shards: dict[str, dict[str, str]] = {}
    for path in map(Path, paths):
        content = _artifact(path, stat_of(path))
        if isinstance(content, dict):
            shards.setdefault(str(path.parent), {}).update(content)
        else:
            found[str(path)] = content
    found |= {folder: digest_value(files) for folder, files in shards.items()}
    return dict(sorted(found.items()))


def damaged_files(manifest: Path, contents: Contents) -> list[str]:
    """The files of a manifest that are missing or are not what it says; none for other JSON.

    Temporary files that have been removed are not missing.
    """
    if not isinstance(_artifact(manifest, stat_of(manifest)), dict):
        return []
    if is_removed(manifest, read_json(manifest)):
        return []
    files = read_manifests([manifest])
    found = contents.digests(path for path, _ in files.values())
    return [name for name, (path, sha) in files.items() if found.get(str(path)) != sha]


def is_damaged(path: Path, contents: Contents) -> bool:
    """Whether a file is there and is not what the provenance beside it says."""
    recorded = read_checked(provenance_file(path), Shape).get("sha256")
    found = contents.digests([path])
    return bool(recorded and found) and [recorded] != [*found.values()]


@functools.cache
def _artifact(path: Path, stat: Stat | None) -> str | dict[str, str]:
    """The files of a manifest, or the digest of another file; `stat` tells versions apart."""
    if stat is None:
        return "missing"
    if path.suffix != ".json":
        return digest_file(path)
    content = read_json(path)
    if not isinstance(content, dict):
        return digest_value(content)
    if "stage" in content and "files" in content and "count" in content:
        return checked(path, content, Manifest)["files"]
    return content_digest(path)
