"""The log of a job: on stderr and in a file, whose lock keeps a second process off the same job."""

import errno
import logging
import os
import platform
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

log = logging.getLogger("i2crc")
STARTED = time.time()
# Set by the logger plugin of Snakemake.
WARNINGS_ONLY = "I2CRC_WARNINGS_ONLY"
# What file systems without locks answer.
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
# Locks that this process holds until it ends.
_held: list[FileLock] = []


def start_log(file: Path | None) -> None:
    """Send the log to stderr and, if a file is given, also to that file, which is emptied.

    The file stands for a job. If another process works on the job (a killed run may have left
    one), wait until it ends. Raise OSError if the lock beside the file cannot be written. With
    Snakemake's logger plugin, stderr gets the warnings. It gets the errors only if the status file,
    where the plugin reads them, cannot be written.
    """
    log.setLevel(logging.INFO)
    log.handlers.clear()
    stderr = logging.StreamHandler()
    log_to(stderr)
    if WARNINGS_ONLY in os.environ:
        stderr.setLevel(logging.WARNING)
    # Of a training on several processes, only the first one writes the file.
    if file is None or os.environ.get("RANK", "0") != "0":
        return
    # Not the log itself, which Snakemake deletes before the job starts.
    lock = file.with_name(f".{file.name}.lock")
    _held.append(take_lock(lock, "already does this; then it continues"))
    log_to(LogFile(file, mode="w", errors="backslashreplace"))
    if WARNINGS_ONLY in os.environ:
        stderr.addFilter(lambda record: record.levelno < logging.ERROR)


def take_lock(path: Path, work: str) -> FileLock:
    """Return the lock of a file, held by this process; wait if another process holds it.

    `work` says what the other process does with it, for the log. The kernel frees the lock when
    the process ends. On a file system without locks, warn and return a lock that is not held.
    Raise OSError if the file cannot be written.
    """
    # The soft lock that filelock falls back to would outlive a process that is killed.
    lock = FileLock(path, fallback_to_soft=False)
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            holder = path.read_text() or "a process that has just started"
            log.warning("waiting for %s, which %s", holder, work)
            lock.acquire(poll_interval=0.2)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        log.warning("%s: no locks here (%s); do not start the same twice", path, error.strerror)
    else:
        with suppress(OSError):  # on a full disk, the lock is held without a name in it
            path.write_text(this_process())
    return lock


def this_process() -> str:
    """Return the number, machine and time of this process, for those who wait for its locks."""
    now = datetime.now(UTC).isoformat(sep=" ", timespec="seconds")
    return f"process {os.getpid()} on {platform.node()} (since {now})"


class LogFile(logging.FileHandler):
    """A log file that is given up, with one line on stderr, if it cannot be written."""

    def handleError(self, _: logging.LogRecord) -> None:  # noqa: N802  logging's own name
        log.removeHandler(self)
        log.warning("%s: cannot be written (%s)", self.baseFilename, sys.exc_info()[1])


def log_to(handler: logging.Handler) -> None:
    """Send the log to one more handler, each message with its time."""
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    log.addHandler(handler)
