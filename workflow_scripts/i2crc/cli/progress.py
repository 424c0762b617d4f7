"""Show how far a run is, while it runs or after it ended, from the status files of its jobs."""

import argparse
import os
import platform
import sys
import time
from collections import defaultdict
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from i2crc.artifacts.stages import PIPELINE, STAGES
from i2crc.config.load import load_config, read_yaml
from i2crc.runtime.errors import FileError, InputError
from i2crc.runtime.progress import Status, clock, printable, read_status

# Rules before the pipeline, the stages of the pipeline, and the other rules.
ORDER = [*(s.name for s in STAGES.values() if s.folder == "data"), *PIPELINE, *STAGES]
LINE = "{:<26}  {:>4}  {:>7}  {:>6}  {:>7}  {:>7}  {:>24}  {:>8}  {:>8}"
HEADER = LINE.format(
    "stage", "done", "running", "failed", "stopped", "waiting", "progress", "images/s", "ETA"
)
MESSAGE_LENGTH = 160
CLEAR = "\033[H\033[2J\033[3J"

Jobs = dict[Path, Status]  # by their logs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this sub-command."""
    parser.add_argument("folder", type=Path, help="RESULTS/EXPERIMENT, as results/demo")
    watch = "show it again and again, until Ctrl-C"
    parser.add_argument("--watch", type=float, metavar="SECONDS", help=watch)
    patience = "how long a job on another machine may be silent and count as running (default: 5)"
    parser.add_argument("--patience", type=float, default=5, metavar="MINUTES", help=patience)


def main(arguments: argparse.Namespace) -> None:
    """Print the state of a run, with --watch until a signal ends it."""
    shown = report(arguments.folder, 60 * arguments.patience)
    if arguments.watch is None:
        print(shown)
        return
    while True:
        clear = CLEAR if sys.stdout.isatty() else ""
        print(f"{clear}{arguments.folder} {datetime.now():%H:%M:%S}\n{shown}\n", flush=True)
        time.sleep(max(0.1, arguments.watch))
        shown = report(arguments.folder, 60 * arguments.patience)


def report(folder: Path, patience: float) -> str:
    """Return the table of a run, and a line for each job that failed, was stopped or seems dead.

    patience: seconds without a sign of life after which a job on another machine counts as dead.
    Raise FileError if the folder holds no run.
    """
    stages = read_stages(folder / "logs", patience)
    if not stages:
        raise FileError(
            folder,
            "no run wrote anything here",
            "give the folder RESULTS/EXPERIMENT of a run that has begun, as results/demo",
        )
    pipeline = planned(folder)
    begun = max((n for n, name in enumerate(pipeline, 1) if name in stages), default=0)
    shown = {*stages, *pipeline[begun:]}
    names = [name for name in dict.fromkeys([*ORDER, *sorted(stages)]) if name in shown]
    rows = [row(name, stages[name]) for name in names]
    jobs = [job for name in names for job in stages[name].items()]
    notes = [note(log, job) for log, job in jobs if job.state not in ("done", "running")]
    return printable("\n".join([HEADER, *rows, *notes]))


def planned(folder: Path) -> list[str]:
    """Return the stages of the pipeline that the saved settings of a run ask for."""
    pipeline = [*PIPELINE]
    with suppress(InputError):  # no settings that this version knows
        file = folder / "config.yaml"
        config = load_config(read_yaml(file), str(file))
        if config.segmentation.supervision == "full":
            pipeline = pipeline[pipeline.index("train_segmentation/final") :]
        if "val" not in config.dataset.splits:
            pipeline = [name for name in pipeline if not name.endswith("/val")]
    return pipeline


def read_stages(logs: Path, patience: float) -> dict[str, Jobs]:
    """Return the jobs of each stage that has begun."""
    stages: dict[str, Jobs] = defaultdict(dict)
    for path in sorted(logs.rglob(".*.status.json")):
        log = path.with_name(path.name[1:].replace(".status.json", ".log"))
        if job := read_status(log):
            if job.state == "running" and not shows_life(job, patience):
                job.state = "silent"
            name = log.relative_to(logs).with_suffix("")
            stage = str(name.parent if shard_count(log) else name)
            stages[stage if stage in PIPELINE else name.parts[0]][log] = job
    for stage, jobs in stages.items():
        # If the number of shards was changed, the files of the earlier number are still there.
        count = shard_count(max(jobs, key=lambda log: jobs[log].written))
        stages[stage] = {log: job for log, job in jobs.items() if shard_count(log) == count}
    return stages


def shows_life(job: Status, patience: float) -> bool:
    """Return whether the process of a job seems to run."""
    if job.host != platform.node():
        return time.time() - job.written < patience
    try:
        os.kill(job.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is another user's
    try:
        # Field 22 of proc(5): when it began, in ticks since the machine started.
        ticks = int(Path(f"/proc/{job.pid}/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return True  # not on Linux
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return time.time() - age < job.written + 1  # a later process has the number of an earlier one


def shard_count(file: Path) -> str:
    """Return "2" for 1-of-2.log or 1-of-2.json; "" for a file of no shard."""
    return file.stem.partition("-of-")[2]


def row(stage: str, jobs: Jobs) -> str:
    """Return the line of a stage; `-` means unknown."""
    if not jobs:
        return LINE.format(stage, 0, 0, 0, 0, "all", "-", "-", "-")
    found = list(jobs.values())
    states = [job.state for job in found]
    waiting = max(0, int(shard_count(next(iter(jobs))) or 0) - len(jobs))
    done, total = sum(job.done for job in found), sum(job.total for job in found)
    running = [job for job in found if job.state == "running"]
    speed = sum(job.images_per_second for job in running)
    left = max((job.seconds_left for job in running), default=0)
    if waiting and speed:  # the shards that wait are as large as the others
        left = (total * (1 + waiting / len(jobs)) - done) / speed
    return LINE.format(
        stage,
        *map(states.count, ("done", "running", "failed")),
        states.count("stopped") + states.count("silent"),
        waiting,
        f"{done} of {total} {found[0].unit}s" if total else "-",
        f"{speed:.4g}" if speed else "-",
        clock(left) if left else "-",
    )


def note(log: Path, job: Status) -> str:
    """Return the line of a job that failed, was stopped or seems dead."""
    since = f"no sign of life since {datetime.fromtimestamp(job.written):%Y-%m-%d %H:%M:%S}"
    what = since if job.state == "silent" else job.state
    message = job.message.partition("\n")[0][:MESSAGE_LENGTH]
    return f"{what}: {log}: {message}".replace("\n", "?")
