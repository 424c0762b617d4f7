"""Locks on files that the kernel frees when their holder dies, whatever the death."""

import errno
import fcntl
import logging
import os
import platform
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

log = logging.getLogger("i2crc")
# What file systems answer that have no locks.
UNSUPPORTED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


def is_held(path: Path) -> bool | None:
    """Whether somebody holds the lock of a file; None where that cannot be seen from here.

    A free lock says so for its last holder's own machine alone: to others it may not be visible.
    """
    try:
        with open(path) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            holder = file.read()
    except BlockingIOError:
        return True
    except (OSError, ValueError):
        return None
    return False if f" on {platform.node()} (since " in holder else None


class Lock:
    """The lock of the file `path`, held until `release` or the end of this process.

    Neither programs that it starts nor processes that it forks hold the lock with it. Where the
    file system has no locks, a warning says so, and the lock counts as taken. `take`, `wait` and
    `share` raise OSError where the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file: TextIO | None = None
        os.register_at_fork(after_in_child=self._close)

    def take(self) -> bool:
        """Take the lock if nobody else holds it; returns whether this process holds it now."""
        return self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB)

    def wait(self) -> None:
        """Take the lock as soon as nobody else holds it."""
        self._lock(fcntl.LOCK_EX)

    def share(self) -> bool:
        """Hold the lock with all who share it, and through exec, unless somebody holds it alone.

        One that this process holds alone, it shares from now on. Returns whether it holds it now.
        """
        if not self._lock(fcntl.LOCK_SH | fcntl.LOCK_NB):
            return False
        with suppress(OSError):  # the file system has no locks
            fcntl.flock(self.file, fcntl.LOCK_SH)
        os.set_inheritable(self.file.fileno(), True)
        return True

    def holder(self) -> str:
        """Who holds the lock, in words: process, machine, since when."""
        return self.path.read_text().strip() or "a process that has only just begun"

    def release(self) -> None:
        """Let others take the lock."""
        if self.file is not None:
            with suppress(OSError):
                self.file.truncate(0)
        self._close()

    def _lock(self, how: int) -> bool:
        if self.file is not None:
            return True
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = open(self.path, "a")  # noqa: SIM115  held for the life of the process
        try:
            fcntl.flock(file, how)
        except BlockingIOError:
            file.close()
            return False
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                file.close()
                raise
            log.warning("%s: no locks here (%s); do not start two", self.path, error.strerror)
        self.file = file
        now = datetime.now(UTC).isoformat(sep=" ", timespec="seconds")
        with suppress(OSError):  # a full disk: the lock is held without a name in it
            file.truncate(0)
            file.write(f"process {os.getpid()} on {platform.node()} (since {now})")
            file.flush()
        return True

    def _close(self) -> None:
        if self.file is not None:
            with suppress(OSError):
                self.file.close()
            self.file = None
