"""What the log of a job says to programs: its progress, and how it ended.

Only this module writes and reads the lines that programs read.
"""

import re
from dataclasses import dataclass

# Begins the first line; the command line follows.
COMMAND = "python "
# How a job ended. DONE and FAILED are also the last line of its log; a killed job writes neither.
DONE, FAILED, STOPPED = "done", "failed", "stopped"
STOPPED_BY = "stopped by {}; start again and it continues"
# Comes before a traceback, which FAILED follows.
UNEXPECTED = "stopped by an unexpected error"
ALREADY = "{} of {} images were already made"

# The time that `log_to` puts before every message.
_RECORD = re.compile(r"^\d\d:\d\d:\d\d ", re.ASCII | re.MULTILINE)
_STOPPED = re.compile(re.escape(STOPPED_BY).replace(r"\{\}", r"SIG[A-Z0-9]+"))
_ALREADY = re.compile(ALREADY.replace("{}", r"(\d{1,9})"), re.ASCII)
_PACE = re.compile(
    r"(image|iteration) (\d{1,9})/(\d{1,9}) .*?(\d{1,9}(?:\.\d{1,9})?(?:e[+-]\d\d)?) images/s "
    r".*?ETA (\d{1,9}):(\d\d):(\d\d)",
    re.ASCII,
)


@dataclass(frozen=True)
class Pace:
    """The progress of a job: `done` of `total` units, which are "image"s or "iteration"s.

    `images_per_second` and `seconds_left` count from the job's last start; None: nothing made yet.
    """

    unit: str
    done: int
    total: int
    images_per_second: float | None = None
    seconds_left: int | None = None

    def line(self, facts: str = "", more: str = "") -> str:
        """Return the log line, with further facts for people before and after the images/s.

        The images/s and the seconds left must be known.
        """
        words = [
            f"{self.unit} {self.done}/{self.total}", facts,
            f"{self.images_per_second:.4g} images/s", more, f"ETA {clock(self.seconds_left or 0)}",
        ]  # fmt: skip
        return " ".join(filter(None, words))


def clock(seconds: float) -> str:
    """Return seconds as h:mm:ss."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


@dataclass(frozen=True)
class JobLog:
    """What a log says of its job.

    `end` is DONE, FAILED or STOPPED, or None if the log has no end. `line` is the line to show:
    the error of a failed job, else the last line; empty if there is only the command line.
    """

    pace: Pace | None
    end: str | None
    line: str


def read_log(text: str) -> JobLog:
    """Return what a log, or the end of one, says; ignore lines that are truncated or foreign."""
    _, *records = _RECORD.split(text)
    records = [record.strip() for record in records]
    pace = next(filter(None, map(_pace, reversed(records))), None)
    *before, last = records or [text.strip()]
    if last == FAILED:
        return JobLog(pace, FAILED, _error(before[-1] if before else ""))
    end = DONE if last == DONE else STOPPED if _STOPPED.fullmatch(last) else None
    return JobLog(pace, end, "" if last.startswith(COMMAND) else _last_line(last))


def last_message(text: str) -> str:
    """Return the last message of a log before its end, whole; of a traceback only the last line.

    Empty if there is only the command line.
    """
    records = [record.strip() for record in _RECORD.split(text)[1:]]
    if records and records[-1] in (DONE, FAILED):
        records.pop()
    last = records[-1] if records else ""
    if last.startswith(UNEXPECTED):
        return _last_line(last)
    return "" if last.startswith(COMMAND) else last


def _pace(record: str) -> Pace | None:
    if found := _PACE.fullmatch(record):
        unit, done, total, rate, hours, minutes, seconds = found.groups()
        left = 3600 * int(hours) + 60 * int(minutes) + int(seconds)
        return Pace(unit, int(done), int(total), float(rate), left)
    found = _ALREADY.fullmatch(record)
    return Pace("image", int(found[1]), int(found[2])) if found else None


def _error(record: str) -> str:
    """Return the first line of a message, or the last line of a traceback."""
    if record.startswith(UNEXPECTED):
        return _last_line(record)
    return next(iter(record.splitlines()), "")


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
