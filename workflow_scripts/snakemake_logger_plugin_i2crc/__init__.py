"""Snakemake logger plugin that shows a run to people: one line as a stage starts and as it ends.

Chosen by `logger: i2crc` in profiles/default. Snakemake's own messages are in .snakemake/log; a dry
run, --printshellcmds, --verbose and --debug-dag print them instead.
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
from pathlib import Path

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from i2crc.artifacts.stages import STAGES
from i2crc.runtime.log import WARNINGS_ONLY
from i2crc.runtime.progress import clock, printable, read_status

# How messages begin that are not shown: Snakemake's about itself, and what it adds to the error of
# a failed job.
CHATTER = (
    "Adding ", "Assuming ", "Building DAG", "Complete log", "Conda env", "Config file",
    "Creating report", "Elapsed time", "Exiting because a job", "Group jobs", "None",
    "Removing output", "RuleException:\nCalledProcessError", "Select jobs", "Shutting down",
    "Singularity", "Touching ", "Using shell", "Will exit after", "host:",
    "WorkflowError:\nAt least one job did not complete",
)  # fmt: skip
REFRESH_SECONDS = 0.5


@dataclass
class StageLine:
    """A stage on the screen: a single job, all its shards, or all files of a rule of the report."""

    name: str
    rule: str
    total: int
    begin: float = field(default_factory=time.time)
    messages: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        if self.total == 1:
            return self.name
        done = f"{len(self.messages)} of " if 0 < len(self.messages) < self.total else ""
        return f"{self.name} {done}{self.total} jobs"

    def key_figure(self) -> str:
        """Return the last message, the counts of shards added up; else what the stage did."""
        # The rules of a run of an ablation have its name before theirs.
        stage = self.rule.rpartition(".")[2]
        texts = [text.removeprefix(f"{stage}: ").partition("\n")[0] for text in self.messages]
        words = [re.split(r"(\d+)", text) for text in texts]
        if len(texts) > 1 and len({tuple(text[::2]) for text in words}) == 1:
            columns = enumerate(zip(*words, strict=True))
            texts = ["".join(str(sum(map(int, c))) if n % 2 else c[0] for n, c in columns)]
        if len(texts) == 1 and texts[0]:
            return texts[0]
        return STAGES[stage].does if stage in STAGES else ""


class LogHandler(LogHandlerBase):
    """Print stages instead of jobs; on a terminal, a last line shows what runs now."""

    has_filter, has_formatter = True, True
    writes_to_file, needs_rulegraph = False, False
    writes_to_stream = True

    def __post_init__(self) -> None:
        options = self.common_settings
        # If this handler does not write to the stream, Snakemake adds its own that does.
        self.writes_to_stream = not (
            options.dryrun or options.printshellcmds or options.verbose or options.debug_dag
        )
        self.begin, self.steps = time.time(), ""
        self.to_come: Counter[str] = Counter()  # jobs of each rule
        self.stages: dict[str, StageLine] = {}
        self.running: dict[int, tuple[StageLine, Path]] = {}  # by job, with the log
        self.written_before: dict[int, float] = {}  # by job: the time in its old status
        self.screen, self.closed = threading.RLock(), threading.Event()
        self.is_quiet = bool({str(word) for word in options.quiet or ()} & {"all", "rules"})
        has_cursor = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self.is_live = has_cursor and self.writes_to_stream and not self.is_quiet
        if self.writes_to_stream:
            os.environ[WARNINGS_ONLY] = "1"
        if self.is_live:
            threading.Thread(target=self.refresh, daemon=True).start()

    def emit(self, record: LogRecord) -> None:
        """Print what a record of Snakemake says to people."""
        try:
            if self.writes_to_stream:
                with self.screen:
                    self.show(vars(record), record.getMessage(), record.levelno)
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """Remove the live line."""
        self.closed.set()
        with suppress(OSError, ValueError):
            self.write("", end="")
        super().close()

    def show(self, facts: dict, text: str, level: int) -> None:
        """Print a record by its kind, which decides what `facts` hold."""
        kind = facts.get("event")
        is_message = level > INFO or (kind is None and not self.is_quiet)
        if kind == LogEvent.RUN_INFO:
            self.to_come = Counter(facts["stats"])
        elif kind == LogEvent.PROGRESS:
            self.steps = f"{facts['done']} of {facts['total']} jobs"
        elif kind == LogEvent.JOB_INFO and facts["log"]:  # a target has none, and runs nothing
            self.start(facts["jobid"], facts["rule_name"], dict(facts["wildcards"]), facts["log"])
        elif kind == LogEvent.JOB_FINISHED and facts["job_id"] in self.running:
            self.finish(facts["job_id"])
        elif kind == LogEvent.JOB_ERROR:
            self.fail(facts["jobid"], facts["rule_name"], facts["log"])
        elif is_message and not text.startswith(CHATTER):
            self.write(text)

    def start(self, job: int, rule: str, wildcards: dict[str, str], logs: list[str]) -> None:
        """Note that a job started; print its stage if this is the first job of it."""
        total = int(wildcards.pop("shard", "1-of-1").split("-")[-1])
        name = "/".join([rule, *wildcards.values()])
        if rule in STAGES and STAGES[rule].folder == "report":
            name, total = rule, max(1, self.to_come[rule])
        if name not in self.stages:
            self.stages[name] = StageLine(name, rule, total)
            self.say("start", str(self.stages[name]))
        self.running[job] = self.stages[name], Path(logs[0])
        old = read_status(Path(logs[0]))
        self.written_before[job] = old.written if old else 0.0

    def finish(self, job: int) -> None:
        """Note that a job ended; print its stage if this was the last job of it."""
        line, log = self.running.pop(job)
        status = read_status(log)
        line.messages.append(status.message if status else "")
        self.to_come[line.rule] -= 1
        if len(line.messages) == line.total or not self.to_come[line.rule]:
            seconds = time.time() - line.begin
            self.say("done", f"{line!s:<32} {seconds:6.1f} s  {line.key_figure()}")

    def fail(self, job: int, rule: str, logs: list[str]) -> None:
        """Print the error of a job, from its status, and where the log is."""
        self.running.pop(job, None)
        status = read_status(Path(logs[0])) if logs else None
        word, message = "FAILED", "killed, crashed, or it could not start"
        # The status may be that of an earlier run. The clock of a node may be behind this one's.
        is_new = status is not None and status.written != self.written_before.get(job)
        if status and is_new and status.state in ("failed", "stopped"):
            word, message = status.state.upper(), status.message
        lines = [rule, *message.splitlines(), *(f"log: {log}" for log in logs)]
        self.say(word, "\n    ".join(lines), is_error=True)

    def say(self, word: str, text: str, is_error: bool = False) -> None:
        """Print what happened to a stage, after the time since the beginning of the run."""
        if is_error or not self.is_quiet:
            self.write(f"{clock(time.time() - self.begin)} {word:<6} {text}")

    def write(self, text: str, end: str = "\n") -> None:
        """Print text in place of the live line, without characters that steer the terminal."""
        start = "\r\033[K" if self.is_live else ""
        print(start + printable(text), end=end, file=sys.stderr, flush=True)

    def refresh(self) -> None:
        """Show again and again what runs now."""
        while not self.closed.wait(REFRESH_SECONDS):
            with self.screen, suppress(OSError):
                running = map(self.progress, self.stages.values())
                text = " | ".join(filter(None, [self.steps, *running]))
                # The cursor goes back, so that other programs write over the line.
                self.write(text[: shutil.get_terminal_size().columns - 1], end="\r")

    def progress(self, line: StageLine) -> str:
        """Return how far the running jobs of a stage are, by their status files."""
        found = [read_status(log) for other, log in self.running.values() if other is line]
        jobs = [job for job in found if job and job.total and job.written > line.begin]
        if not jobs:
            return str(line) if found else ""
        done, total = sum(job.done for job in jobs), sum(job.total for job in jobs)
        left = clock(max(job.seconds_left for job in jobs))
        return f"{line}, {jobs[0].unit} {done} of {total}, ETA {left}"
