"""The status of a job: its state, progress and last message, in a file beside its log.

Programs read `logs/RULE/.../.NAME.status.json`; the log is for people. Snakemake deletes the log
before the job starts, but not the status.
"""

import logging
import os
import platform
import threading
import time
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field

from i2crc.runtime.atomic import write_bytes
from i2crc.runtime.log import log

SECONDS_BETWEEN_REPORTS = 1.0
# The limits keep damaged files away from the calculations of those who read a status.
Count = Annotated[int, Field(ge=0, lt=2**31)]
Quantity = Annotated[float, Field(ge=0, lt=1e11)]


class Status(BaseModel):
    """The state and progress of a job; 0 means unknown.

    `state` is "running", "done", "failed" or "stopped". `done` of `total` units ("image" or
    "iteration") are made. `images_per_second` and `seconds_left` count from the job's last start.
    `message` is the last message of the log, or the error that ended the job. `written` is in
    seconds since 1970.
    """

    state: str = "running"
    unit: str = "image"
    done: Count = 0
    total: Count = 0
    images_per_second: Quantity = 0.0
    seconds_left: Quantity = 0.0
    message: str = ""
    pid: Count = Field(default_factory=os.getpid)
    host: str = Field(default_factory=platform.node)
    written: Quantity = 0.0


class StatusFile(logging.Handler):
    """Writes the status of the job of this process; without `start`, nothing is written.

    As a handler of the log, it takes the last message from there.
    """

    path: Path | None = None
    status = Status()
    writing = threading.RLock()

    def start(self, log_file: Path | None) -> None:
        """Write that the job of this log runs, if this process is the first one of the job."""
        if log_file is not None and os.environ.get("RANK", "0") == "0":
            self.path, self.status = status_path(log_file), Status()
            log.handlers.insert(0, self)
            self.write()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a message of the log; of a traceback only the error."""
        message = repr(record.exc_info[1]) if record.exc_info else record.getMessage()
        # File names may hold lone surrogates, which JSON cannot encode.
        self.status.message = message.encode(errors="replace").decode()
        self.write()

    def report(self, unit: str, done: int, total: int, speed: float = 0, left: float = 0) -> None:
        """Note the progress, with images/s and seconds left; write it at most once a second."""
        status = self.status
        status.unit, status.done, status.total = unit, done, total
        status.images_per_second, status.seconds_left = speed, left
        if time.time() - status.written >= SECONDS_BETWEEN_REPORTS:
            self.write()

    def end(self, state: str) -> None:
        """Write how the job ended, also at the end of the log."""
        log.removeHandler(self)
        self.status.state = state
        self.write()
        if self.path is not None:
            log.info(state)

    def write(self) -> None:
        """Write the file. A job does not fail because its status cannot be written."""
        if self.path is None:
            return
        self.status.written = time.time()
        try:
            with self.writing:
                write_bytes(self.path, self.status.model_dump_json().encode())
        except (OSError, ValueError):
            for handler in log.handlers:
                handler.filters.clear()  # stderr shows errors, which nobody can read here


status = StatusFile()


def status_path(log_file: Path) -> Path:
    """Return the status file of the job with this log."""
    return log_file.with_name(f".{log_file.stem}.status.json")


def read_status(log_file: Path) -> Status | None:
    """Return the status of the job with this log; None if there is none, or it is damaged."""
    try:
        return Status.model_validate_json(status_path(log_file).read_bytes())
    except (OSError, ValueError):
        return None


def clock(seconds: float) -> str:
    """Return seconds as h:mm:ss."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def printable(text: str) -> str:
    """Return a text without characters that would control the terminal; line ends stay."""
    return "".join(char if char.isprintable() or char == "\n" else "?" for char in text)
