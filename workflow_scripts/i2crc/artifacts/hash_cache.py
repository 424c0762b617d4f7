"""What is known of the user's files, remembered by size and time stamp, so that each is read once."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from i2crc.runtime.atomic import digest_file, read_json, write_json
from i2crc.runtime.errors import FileError, InputError
from i2crc.runtime.log import log

FileFacts = dict[str, Any]
READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)


class HashCache:
    """Facts about files, kept from run to run in a JSON file (`memory`; None: not kept).

    `key` is what the facts depend on beside the file: the code that finds them and its limits. A
    file of the same size and time stamp is not opened; a touched one is hashed and, if it has the
    same content, not decoded again. Facts of files that are no longer asked for are dropped.
    """

    def __init__(self, memory: Path | None = None, key: str = "") -> None:
        self.memory, self.key = memory, key
        self._known = _read(memory, key)
        self._used: dict[str, FileFacts] = {}
        self.decoded = 0

    def facts(self, path: Path, kind: str, look: Callable[[Path], FileFacts]) -> FileFacts:
        """Return what `look` finds in a file of a kind, and the "sha256" of its content.

        A FileError that `look` raises is remembered as well, and raised again.
        """
        name = f"{kind} {path.absolute()}"
        known = self._known.get(name, {})
        try:
            status = os.stat(path)
            stat = [status.st_size, status.st_mtime_ns]
            if known.get("stat") != stat:
                sha = digest_file(path)
                same = known.get("sha256") == sha
                known = {**(known if same else self._look(path, look)), "stat": stat, "sha256": sha}
        except OSError:
            return look(path)  # which raises the error that explains it
        self._used[name] = known
        if "problem" in known:
            raise FileError(path, known["problem"], known["remedy"])
        return known

    def _look(self, path: Path, look: Callable[[Path], FileFacts]) -> FileFacts:
        self.decoded += 1
        try:
            return look(path)
        except FileError as error:
            return {"problem": error.problem.problem, "remedy": error.problem.remedy}

    @property
    def remembered(self) -> int:
        """The number of files that were not decoded."""
        return len(self._used) - self.decoded

    def save(self) -> None:
        """Remember the facts of the files that were asked for, if the memory can be written."""
        if self.memory is None:
            return
        found = dict(sorted(self._used.items()))  # not in the order of the threads
        try:
            write_json(self.memory, {"key": self.key, "files": found})
        except OSError as error:
            if error.errno not in READ_ONLY:
                raise
            log.warning("%s: not remembered for the next run (%s)", self.memory, error.strerror)


def _read(memory: Path | None, key: str) -> dict[str, FileFacts]:
    """Return what is remembered; nothing if the file is missing, damaged or of another key."""
    try:
        kept = read_json(memory) if memory is not None else {}
        if kept["key"] == key:
            return {n: dict(f) for n, f in kept["files"].items()}
    except (InputError, LookupError, TypeError, ValueError, AttributeError):
        pass
    return {}
