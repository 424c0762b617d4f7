"""Show how a run stands, also while it is at work or after it died, from its results alone."""

import argparse
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from i2crc.cli.run_state import (
    RUNNING,
    SHARDED,
    SILENT,
    TRAININGS,
    WAITING,
    JobState,
    StageState,
    read_stages,
)
from i2crc.runtime.parser import make_parser, run
from i2crc.runtime.progress import DONE, FAILED, STOPPED, clock
from i2crc.runtime.signals import Stopped

HEADER = (
    "stage", "done", "running", "failed", "stopped", "waiting", "progress", "images/s", "ETA",
)  # fmt: skip
LINE_LENGTH = 160
CLEAR = "\033[H\033[2J\033[3J"


def table(stages: Sequence[StageState]) -> list[str]:
    """The lines of the table: a column is as wide as its widest cell."""
    rows = [HEADER, *map(cells, stages)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            [row[0].ljust(widths[0])]
            + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        )
        for row in rows
    ]


def cells(stage: StageState) -> tuple[str, ...]:
    """The row of a stage; `-` is what cannot be known."""
    states = [(DONE,), (RUNNING,), (FAILED,), (STOPPED, SILENT), (WAITING,)]
    jobs = [str(stage.count(*each)) if stage.jobs else "-" for each in states]
    if jobs[-1] == "0" and stage.rule not in {**SHARDED, **TRAININGS}:
        jobs[-1] = "-"  # of other rules, what is to come leaves no trace
    rate, left = stage.images_per_second, stage.seconds_left
    return (
        printable(stage.name),
        *jobs,
        progress(stage),
        "-" if rate is None else f"{rate:.4g}",
        "-" if left is None else clock(left),
    )


def progress(stage: StageState) -> str:
    """How many images or iterations are done, of how many."""
    if stage.done is None or stage.total is None:
        return "-"
    return f"{stage.done} of {stage.total} {'iterations' if stage.rule in TRAININGS else 'images'}"


def notes(stages: Sequence[StageState]) -> list[str]:
    """A line for each job that failed, was stopped, or shows no sign of life: its log, and why."""
    jobs = [job for stage in stages for job in stage.jobs]
    parts = [(word(job), str(job.log), job.line[:LINE_LENGTH]) for job in jobs if word(job)]
    return [printable(": ".join(filter(None, each))) for each in parts]


def word(job: JobState) -> str:
    """What is to be said of a job; nothing of one that needs no attention."""
    if job.state == SILENT:
        return f"no sign of life since {spell(job.quiet)}"
    return job.state if job.state in (FAILED, STOPPED) else ""


def spell(seconds: float | None) -> str:
    """A time in its largest whole unit."""
    if seconds is None:
        return "an unknown time"
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f} {unit}"
    return f"{seconds:.0f} s"


def printable(text: str) -> str:
    """A name, or a line of a log, without what would steer the terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def report(folder: Path, patience: float) -> str:
    """All that is shown. patience: seconds."""
    stages = read_stages(folder, patience)
    told = notes(stages)
    return "\n".join(table(stages) + [""] * bool(told) + told)


def positive(text: str) -> float:
    """A number above 0, of an option."""
    number = float(text)
    if not 0 < number < 1e9:
        raise ValueError
    return number


def main(arguments: argparse.Namespace) -> None:
    patience = 60 * arguments.patience
    shown = report(arguments.folder, patience)
    if arguments.watch is None:
        print(shown)
        return
    try:
        while True:
            clear = CLEAR if sys.stdout.isatty() else ""
            print(f"{clear}{arguments.folder} {datetime.now():%H:%M:%S}\n{shown}\n", flush=True)
            time.sleep(arguments.watch)
            shown = report(arguments.folder, patience)
    except Stopped:
        pass  # as every watch ends


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("folder", type=Path, help="RESULTS/EXPERIMENT, as results/demo")
    parser.add_argument("--watch", type=positive, metavar="SECONDS", help="show it again and again")
    parser.add_argument(
        "--patience",
        type=positive,
        default=5,
        metavar="MINUTES",
        help="how long a job on another machine may write nothing and count as running",
    )
    run(main, parser)
