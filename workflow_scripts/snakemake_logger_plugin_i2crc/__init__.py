"""Snakemake logger plugin that shows a run to people: one line as a stage starts and as it ends.

Chosen by `logger: i2crc` in profiles/default. Snakemake's own messages are in .snakemake/log; a dry
run, --verbose and --debug-dag print them instead.
"""

import os
import re
import shutil
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from logging import INFO, LogRecord

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from i2crc.artifacts.stages import STAGES
from i2crc.runtime.log import WARNINGS_ONLY
from i2crc.runtime.progress import STOPPED, clock, last_message, read_log

# How messages begin that are not shown: Snakemake's about itself, and what it adds to the error of
# a failed job.
CHATTER = (
    "Adding ", "Assuming ", "Building DAG", "Complete log", "Conda env", "Config file",
    "Creating report", "Elapsed time", "Exiting because a job", "Group jobs", "None",
    "Removing output", "RuleException:\nCalledProcessError", "Select jobs", "Shutting down",
    "Singularity", "Touching ", "Using shell", "Will exit after", "host:",
    "WorkflowError:\nAt least one job did not complete",
)  # fmt: skip
TAIL_BYTES = 2**16
REFRESH_SECONDS = 0.5


@dataclass
class StageLine:
    """A stage on the screen: a single job, all its shards, or all files of a rule of the report."""

    name: str
    rule: str
    does: str
    total: int
    unit: str
    seconds: float = 0.0  # with at least one job running
    since: float = 0.0
    running: dict[int, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        if self.total == 1:
            return self.name
        done = "" if len(self.messages) in (0, self.total) else f"{len(self.messages)} of "
        return f"{self.name} {done}{self.total} {self.unit}"

    def key_figure(self) -> str:
        """Return what the logs say last, the counts of shards added up; else what the stage did."""
        texts = [text.removeprefix(f"{self.rule}: ").partition("\n")[0] for text in self.messages]
        words = [re.split(r"(\d+)", text) for text in texts]
        if len(texts) > 1 and len({tuple(text[::2]) for text in words}) == 1:
            columns = enumerate(zip(*words, strict=True))
            texts = ["".join(str(sum(map(int, c))) if n % 2 else c[0] for n, c in columns)]
        # Of a training the loss alone, and no more digits than a person reads.
        text = re.sub(r"^(iteration \S+) .*?(\bloss \S+).*", r"\1, \2", texts[0])
        text = re.sub(r"\d+\.\d{5,}", lambda found: f"{float(found[0]):.4g}", text)
        return text if text and len(texts) == 1 else self.does

    def progress(self) -> str:
        """Return how far the running jobs are, by the last pace in their logs."""
        paces = [pace for log in self.running.values() if (pace := read_log(tail(log)).pace)]
        if not paces:
            return str(self)
        done, total = sum(pace.done for pace in paces), sum(pace.total for pace in paces)
        left = clock(max(pace.seconds_left or 0 for pace in paces))
        return f"{self}, {paces[0].unit} {done} of {total}, ETA {left}"


class LogHandler(LogHandlerBase):
    """Print stages instead of jobs; on a terminal, a last line shows what runs now."""

    has_filter, has_formatter = True, True
    writes_to_file, needs_rulegraph = False, False
    writes_to_stream = True

    def __post_init__(self) -> None:
        settings = self.common_settings
        # If this handler does not write to the stream, Snakemake adds its own that does.
        self.writes_to_stream = not (settings.dryrun or settings.verbose or settings.debug_dag)
        self.is_quiet = bool({str(word) for word in settings.quiet or ()} & {"all", "rules"})
        # Messages without an event are shown, and with -p the command lines.
        self.shown: set[LogEvent | None] = set() if self.is_quiet else {None}
        if settings.printshellcmds:
            self.shown.add(LogEvent.SHELLCMD)
        self.begin, self.steps = time.monotonic(), ""
        self.planned: dict[str, int] = {}
        self.finished: Counter[str] = Counter()
        self.stages: dict[str, StageLine] = {}
        self.jobs: dict[int, StageLine] = {}
        self.screen, self.closed = threading.RLock(), threading.Event()
        has_cursor = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self.is_live = has_cursor and self.writes_to_stream and not self.is_quiet
        if self.writes_to_stream:
            os.environ[WARNINGS_ONLY] = "1"
        if self.is_live:
            threading.Thread(target=self.refresh, daemon=True).start()

    def emit(self, record: LogRecord) -> None:
        """Print what a record of Snakemake says to people."""
        if not self.writes_to_stream:
            return
        with self.screen:
            try:
                self.show(vars(record), record.getMessage(), record.levelno)
            except OSError:
                pass  # the terminal, or the program behind the pipe, is gone
            except Exception:
                self.handleError(record)

    def close(self) -> None:
        """Remove the live line."""
        self.closed.set()
        if self.is_live:
            with self.screen, suppress(OSError, ValueError):
                self.write("", end="")
        super().close()

    def show(self, facts: dict, text: str, level: int) -> None:
        """Print a record by its kind, which decides what `facts` hold."""
        kind = facts.get("event")
        if kind == LogEvent.RUN_INFO:
            self.planned = facts["stats"]
        elif kind == LogEvent.PROGRESS:
            self.steps = f"{facts['done']} of {facts['total']} jobs"
        elif kind == LogEvent.JOB_INFO:
            for log in facts["log"][:1]:  # a target has none, and runs nothing
                self.start(facts["jobid"], facts["rule_name"], dict(facts["wildcards"]), log)
        elif kind == LogEvent.JOB_FINISHED and facts["job_id"] in self.jobs:
            self.finish(facts["job_id"])
        elif kind == LogEvent.JOB_ERROR:
            self.fail(facts["jobid"], facts["rule_name"], facts["log"])
        elif (level > INFO or kind in self.shown) and not text.startswith(CHATTER):
            self.write(text)

    def start(self, job: int, rule: str, wildcards: dict[str, str], log: str) -> None:
        """Note that a job started; print its stage if this is the first job of it."""
        stage = STAGES.get(rule)
        shards = wildcards.pop("shard", "1-of-1").split("-")[-1]
        name, total, unit = "/".join([rule, *wildcards.values()]), int(shards), "shards"
        if stage and stage.folder == "report":
            name, total, unit = rule, self.planned.get(rule, 1), "files"
        if name not in self.stages:
            does = stage.does if stage else ""
            self.stages[name] = StageLine(name, rule, does, total, unit)
            self.say("start", str(self.stages[name]))
        line = self.jobs[job] = self.stages[name]
        line.since = line.since if line.running else time.monotonic()
        line.running[job] = log

    def finish(self, job: int) -> None:
        """Note that a job ended; print its stage if this was the last job of it."""
        line = self.jobs.pop(job)
        line.messages.append(last_message(tail(line.running.pop(job))))
        line.seconds += 0 if line.running else time.monotonic() - line.since
        self.finished[line.rule] += 1
        if len(line.messages) == line.total or self.finished[line.rule] == self.planned[line.rule]:
            self.say("done", f"{line!s:<32} {line.seconds:6.1f} s  {line.key_figure()}")

    def fail(self, job: int, rule: str, logs: list[str]) -> None:
        """Print the error of a job, from its log, and where the log is."""
        if job in self.jobs:
            self.jobs.pop(job).running.pop(job)
        text = tail(logs[0]) if logs else ""
        end = read_log(text).end
        error = last_message(text) if end else "killed, or it could not start"
        log_lines = [f"log: {log}" for log in logs]
        word = "stop" if end == STOPPED else "FAILED"
        self.say(word, "\n    ".join([rule, *error.splitlines(), *log_lines]), is_error=True)

    def say(self, word: str, text: str, is_error: bool = False) -> None:
        """Print what happened to a stage, after the time since the beginning of the run."""
        if is_error or not self.is_quiet:
            self.write(f"{clock(time.monotonic() - self.begin)} {word:<6} {text}")

    def write(self, text: str, end: str = "\n") -> None:
        """Print text in place of the live line, without characters that steer the terminal."""
        text = "".join(c if c.isprintable() or c == "\n" else "?" for c in text)
        print("\r\033[K" + text if self.is_live else text, end=end, file=sys.stderr, flush=True)

    def refresh(self) -> None:
        """Show again and again what runs now."""
        while not self.closed.wait(REFRESH_SECONDS):
            with self.screen, suppress(OSError):
                running = [line.progress() for line in self.stages.values() if line.running]
                text = " | ".join(filter(None, [self.steps, *running]))
                # The cursor goes back, so that other programs write over the line.
                self.write(text[: shutil.get_terminal_size().columns - 1], end="\r")


def tail(path: str) -> str:
    """Return the last 64 KiB of a log; "" if it cannot be read."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""
