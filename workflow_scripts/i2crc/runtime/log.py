"""What every command line shares: the parser's common options, the log, how errors and signals
end a run, and that no two processes do the same work or use the same GPU.
"""

import logging
import os
import sys
import time
from pathlib import Path

from i2crc.runtime.locks import Lock

log = logging.getLogger("i2crc")
STARTED = time.time()


def start_log(file: Path | None) -> None:
    """Send the log to stderr and, where given, to `file` (started anew).

    `file` stands for the work that it is the log of: where another process does that work already
    (a killed run may have left it), this one waits for its end.
    """
    log.setLevel(logging.INFO)
    log.handlers.clear()
    log_to(logging.StreamHandler())
    # Of a training on several processes, the first one alone writes the file.
    if file is None or os.environ.get("RANK", "0") != "0":
        return
    lock = Lock(lock_of(file))
    if not lock.take():
        log.info("waiting for %s, which already does this; then it continues", lock.holder())
        lock.wait()
    log_to(LogFile(file, mode="w"))


def lock_of(log_file: Path) -> Path:
    """The lock of a log file: not the file itself, which Snakemake deletes before a job starts."""
    return log_file.with_name(f".{log_file.name}.lock")


def end_log(word: str) -> None:
    """Let the log file, where there is one, end with a word that programs understand."""
    if any(isinstance(handler, LogFile) for handler in log.handlers):
        log.info(word)


class LogFile(logging.FileHandler):
    """A log file that is given up, with one line on stderr, when it cannot be written."""

    def handleError(self, _: logging.LogRecord) -> None:  # noqa: N802  logging's own name
        log.removeHandler(self)
        error = sys.exc_info()[1]
        log.warning("%s: cannot be written (%s); the log goes on here", self.baseFilename, error)


def log_to(handler: logging.Handler) -> None:
    """Send the log to one more place."""
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    log.addHandler(handler)
