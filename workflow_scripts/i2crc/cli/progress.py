"""Show how far a run is, while it runs or after it ended, from the files of its results."""

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
from i2crc.runtime.progress import DONE, FAILED, STOPPED, clock

HEADER = (
    "stage", "done", "running", "failed", "stopped", "waiting", "progress", "images/s", "ETA",
)  # fmt: skip
LINE_LENGTH = 160
CLEAR = "\033[H\033[2J\033[3J"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this sub-command."""
    parser.add_argument("folder", type=Path, help="RESULTS/EXPERIMENT, as results/demo")
    parser.add_argument(
        "--watch", type=positive, metavar="SECONDS", help="show it again and again, until Ctrl-C"
    )
    parser.add_argument(
        "--patience",
        type=positive,
        default=5,
        metavar="MINUTES",
        help="how long a job on another machine may write nothing and count as running "
        "(default: %(default)s)",
    )


def positive(text: str) -> float:
    """Return the number of an option; raise ValueError unless it is above 0 and finite."""
    number = float(text)
    if not 0 < number < 1e9:
        raise ValueError
    return number


def main(arguments: argparse.Namespace) -> None:
    """Print the state of a run, with --watch until a signal ends it."""
    patience = 60 * arguments.patience
    shown = report(arguments.folder, patience)
    if arguments.watch is None:
        print(shown)
        return
    while True:
        clear = CLEAR if sys.stdout.isatty() else ""
        print(f"{clear}{arguments.folder} {datetime.now():%H:%M:%S}\n{shown}\n", flush=True)
        time.sleep(arguments.watch)
        shown = report(arguments.folder, patience)


def report(folder: Path, patience: float) -> str:
    """Return the table and the notes of a run.

    patience: seconds without a written byte after which a job on another machine counts as dead.
    """
    stages = read_stages(folder, patience)
    lines = notes(stages)
    return "\n".join(table(stages) + [""] * bool(lines) + lines)


def table(stages: Sequence[StageState]) -> list[str]:
    """Return the lines of the table, a header and one for each stage."""
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
    """Return the row of a stage; `-` means unknown."""
    states = [(DONE,), (RUNNING,), (FAILED,), (STOPPED, SILENT), (WAITING,)]
    jobs = [str(stage.count(*each)) if stage.jobs else "-" for each in states]
    if jobs[-1] == "0" and stage.rule not in {**SHARDED, **TRAININGS}:
        jobs[-1] = "-"  # the files do not say how many jobs of other rules are to come
    rate, left = stage.images_per_second, stage.seconds_left
    return (
        printable(stage.name),
        *jobs,
        progress(stage),
        "-" if rate is None else f"{rate:.4g}",
        "-" if left is None else clock(left),
    )


def progress(stage: StageState) -> str:
    """Return how many images or iterations are done, of how many."""
    if stage.done is None or stage.total is None:
        return "-"
    return f"{stage.done} of {stage.total} {'iterations' if stage.rule in TRAININGS else 'images'}"


def notes(stages: Sequence[StageState]) -> list[str]:
    """Return a line with log and reason for each job that failed, was stopped or seems dead."""
    jobs = [job for stage in stages for job in stage.jobs]
    parts = [(word(job), str(job.log), job.line[:LINE_LENGTH]) for job in jobs if word(job)]
    return [printable(": ".join(filter(None, each))) for each in parts]


def word(job: JobState) -> str:
    """Return what happened to a job; empty if it needs no attention."""
    if job.state == SILENT:
        return f"no sign of life since {spell(job.quiet)}"
    return job.state if job.state in (FAILED, STOPPED) else ""


def spell(seconds: float | None) -> str:
    """Return a time in its largest whole unit."""
    if seconds is None:
        return "an unknown time"
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f} {unit}"
    return f"{seconds:.0f} s"


def printable(text: str) -> str:
    """Return a text without characters that would control the terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
