"""What the log of a job says to programs: how far the job is, and how it ended.

The lines that are read by a program are written and read here alone.
"""

import re
from dataclasses import dataclass

# The first line, before the command line.
COMMAND = "python "
# How a job has ended. The first two are the last line of its log, too; a kill leaves none of them.
DONE, FAILED, STOPPED = "done", "failed", "stopped"
STOPPED_BY = "stopped by {}; start again and it continues"
# Before its traceback, which FAILED follows.
UNEXPECTED = "stopped by an unexpected error"
ALREADY = "{} of {} images were already made"

# The times that `console` puts before every message.
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
    """How far a job is: `done` of `total`, counted in `unit`s ("image" or "iteration").

    Images/s and the seconds left are of this attempt alone; None where it has made nothing yet.
    """

    unit: str
    done: int
    total: int
    images_per_second: float | None = None
    seconds_left: int | None = None

    def line(self, facts: str = "", more: str = "") -> str:
        """The log line, with further facts for people before and after the images/s."""
        words = [
            f"{self.unit} {self.done}/{self.total}", facts,
            f"{self.images_per_second:.4g} images/s", more, f"ETA {clock(self.seconds_left)}",
        ]  # fmt: skip
        return " ".join(filter(None, words))


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


@dataclass(frozen=True)
class JobLog:
    """A log: how far its job is, how it ended (DONE, FAILED, STOPPED, None: it did not), and the
    line to show of it: the error of one that failed, else the last but its command line.
    """

    pace: Pace | None
    end: str | None
    line: str


def read_log(text: str) -> JobLog:
    """Understand a log, or the end of one; what is half-written or foreign says nothing."""
    _, *records = _RECORD.split(text)
    records = [record.strip() for record in records]
    pace = next(filter(None, map(_pace, reversed(records))), None)
    *before, last = records or [text.strip()]
    if last == FAILED:
        return JobLog(pace, FAILED, _error(before[-1] if before else ""))
    end = DONE if last == DONE else STOPPED if _STOPPED.fullmatch(last) else None
    return JobLog(pace, end, "" if last.startswith(COMMAND) else _last_line(last))


def _pace(record: str) -> Pace | None:
    if found := _PACE.fullmatch(record):
        unit, done, total, rate, hours, minutes, seconds = found.groups()
        left = 3600 * int(hours) + 60 * int(minutes) + int(seconds)
        return Pace(unit, int(done), int(total), float(rate), left)
    found = _ALREADY.fullmatch(record)
    return Pace("image", int(found[1]), int(found[2])) if found else None


def _error(record: str) -> str:
    """What a message says first, and a traceback last."""
    if record.startswith(UNEXPECTED):
        return _last_line(record)
    return next(iter(record.splitlines()), "")


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
