"""Facts about the user's files, remembered by size and time stamp: each file is read once."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from i2crc.artifacts.schemas import HashMemory, read_checked
from i2crc.runtime.atomic import digest_file, write_json
from i2crc.runtime.errors import FileError, InputError
from i2crc.runtime.log import log

FileFacts = dict[str, Any]
READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)


class HashCache:
    """Facts about files, kept from run to run in the JSON file `memory` (None: not kept).

    `key` is what the facts depend on beside the file: the code that finds them and its limits. A
    file of the same size and time stamp is not opened. A touched file is hashed, and decoded only
    if its content has changed. Facts of files that are no longer asked for are dropped. If several
    processes share a memory, the last one to save replaces it as a whole.
    """

    def __init__(self, memory: Path | None = None, key: str = "") -> None:
        self.memory, self.key = memory, key
        self._known = _read(memory, key)
        # The same content under another name is not decoded again (an archive unpacked elsewhere).
        self._contents = {(n.split(" ")[0], f["sha256"]): f for n, f in self._known.items()}
        self._used: dict[str, FileFacts] = {}
        self.decoded = 0

    def facts(self, path: Path, kind: str, look: Callable[[Path], FileFacts]) -> FileFacts:
        """Return what `look` finds in a file, and the "sha256" of its content.

        `kind` names what `look` looks for. A FileError that it raises is remembered as well, and
        raised again.
        """
        name = f"{kind} {path.absolute()}"
        known = self._known.get(name, {})
        try:
            status = os.stat(path)
            stat = [status.st_size, status.st_mtime_ns]
            if known.get("stat") != stat:
                sha = digest_file(path)
                same = self._contents.get((kind, sha))
                known = {**(same or self._look(path, look)), "stat": stat, "sha256": sha}
        except OSError:
            return look(path)  # raises the error that explains why it cannot be read
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
        """Write the facts of the files that were asked for to the memory.

        Only warn if the memory may not be written. Raise OSError for other errors (a full disk).
        """
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
    if memory is None or not memory.is_file():
        return {}
    try:
        kept = read_checked(memory, HashMemory)
    except InputError:
        return {}
    return kept["files"] if kept["key"] == key else {}
