"""What decoding a file has found, remembered by the file's content, so that it is decoded once."""

import errno
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from i2crc.files import FileError, InputError, digest_file, read_json, write_json

log = logging.getLogger("i2crc")

Facts = dict[str, Any]
READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)


class Findings:
    """Facts about files, kept from run to run in a JSON file (`memory`; None: not kept).

    `key` is what else they depend on: the code that finds them and its limits. Those of files that
    are no longer there are dropped. Of several processes that share a memory the last one to save
    is remembered, whole.
    """

    def __init__(self, memory: Path | None = None, key: str = "") -> None:
        self.memory, self.key = memory, key
        self._known: dict[str, Facts] = _read(memory, key)
        self._used: dict[str, Facts] = {}

    def of(self, path: Path, kind: str, look: Callable[[Path], Facts]) -> Facts:
        """The facts that `look` finds in a file of a kind, with the SHA-256 of its content.

        `look` is called for new content alone. The FileError that it raises is remembered as well.
        """
        if not path.is_file() or not os.access(path, os.R_OK):
            return look(path)  # which says what is wrong with it
        sha = digest_file(path)
        name = f"{kind} {sha}"
        facts = self._used.get(name) or self._known.get(name)
        if facts is None:
            try:
                facts = look(path)
            except FileError as error:
                facts = {"problem": error.problem.problem, "remedy": error.problem.remedy}
        self._used[name] = facts
        if "problem" in facts:
            raise FileError(path, facts["problem"], facts["remedy"])
        return {**facts, "sha256": sha}

    @property
    def decoded(self) -> int:
        """How many of the files asked for had to be looked at (equal ones count once)."""
        return len(self._used.keys() - self._known.keys())

    @property
    def remembered(self) -> int:
        """How many did not."""
        return len(self._used) - self.decoded

    def save(self) -> None:
        """Remember what was found of the files asked for, where the memory can be written."""
        if self.memory is None:
            return
        found = dict(sorted(self._used.items()))  # not in the order of the threads
        try:
            write_json(self.memory, {"key": self.key, "findings": found})
        except OSError as error:
            if error.errno not in READ_ONLY:
                raise
            log.warning("%s: not remembered for the next run (%s)", self.memory, error.strerror)


def _read(memory: Path | None, key: str) -> dict[str, Facts]:
    try:
        kept = read_json(memory) if memory is not None else {}
        return kept["findings"] if kept["key"] == key else {}
    except (InputError, LookupError, TypeError):
        return {}  # nothing is remembered: every file is looked at
