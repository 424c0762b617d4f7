"""The state of a run, stage by stage and job by job, from the files of its results.

A job is known by its log (`logs/RULE/.../NAME.log`) and the lock beside it. Nothing is written.
Files that are half-written or damaged, or vanish meanwhile, are ignored.
"""

import fcntl
import json
import os
import platform
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from i2crc.artifacts.journal import journal_ids
from i2crc.artifacts.stages import PIPELINE, STAGES
from i2crc.runtime.errors import FileError
from i2crc.runtime.log import lock_of
from i2crc.runtime.progress import DONE, Pace, read_log

# The state of a job that has not ended; SILENT: it began, but shows no sign of life. Jobs that
# have ended are DONE, FAILED or STOPPED (runtime.progress).
RUNNING, SILENT, WAITING = "running", "silent", "waiting"
FIRST = (
    "render_demo", "prepare_data", "download_saliency", "check_leaks", "preflight",
    "preflight_published", "fetch_checkpoint",
)  # fmt: skip
ORDER = (*FIRST, *PIPELINE)
# Rule -> the folder of its manifests (rules that run in shards), or of its weights (trainings).
SHARDED = {stage.name: stage.output for stage in STAGES.values() if stage.sharded}
TRAININGS = {stage.name: stage.output for stage in STAGES.values() if stage.training}
SPLITS = ("train", "val", "test")
SHARD = re.compile(r"[1-9]\d{0,3}-of-([1-9]\d{0,3})", re.ASCII)
# The name of a log, or of its lock.
LOG = re.compile(r"([^.].*\.log)|\.([^.].*\.log)\.lock", re.DOTALL)
TAIL_BYTES = 2**16

Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class JobState:
    """The state and progress of a job; None means unknown.

    `quiet` is the time in seconds since the job last wrote. `line` is its error, or the last line
    of its log. `pace` is the last one in its log. `done` and `total` count images, or iterations
    of a training.
    """

    log: Path
    state: str
    quiet: float | None
    line: str
    pace: Pace | None
    done: int | None = None
    total: int | None = None
    images_per_second: float | None = None
    seconds_left: float | None = None


@dataclass(frozen=True)
class StageState:
    """The jobs of a rule, or of one round and split of it, whose logs are in one folder."""

    name: str
    jobs: list[JobState]

    @property
    def rule(self) -> str:
        """The rule of the jobs."""
        return self.name.split("/")[0]

    def count(self, *states: str) -> int:
        """Return the number of jobs in one of these states."""
        return sum(job.state in states for job in self.jobs)

    @property
    def done(self) -> int | None:
        """Images or iterations that are done."""
        return _sum(job.done for job in self.jobs)

    @property
    def total(self) -> int | None:
        """Images or iterations in all."""
        return _sum(job.total for job in self.jobs)

    @property
    def images_per_second(self) -> float | None:
        """Images/s of all running jobs whose log says so."""
        return _sum(job.images_per_second for job in self.jobs if job.images_per_second)

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the last iteration or image, at the pace of the jobs that run now."""
        if self.rule in TRAININGS:
            return _sum(job.seconds_left for job in self.jobs)
        done, total, rate = self.done, self.total, self.images_per_second
        return None if done is None or total is None or rate is None else (total - done) / rate


def _sum(numbers: Iterable[Number | None]) -> Number | None:
    """Return the sum of at least one number; None if one of them is unknown."""
    found = list(numbers)
    known = [number for number in found if number is not None]
    return sum(known[1:], known[0]) if known and len(known) == len(found) else None


def read_stages(folder: Path, patience: float) -> list[StageState]:
    """Return the stages of the run whose results are in `folder`, in the order of the pipeline.

    If this machine cannot see whether a job holds its lock, the job counts as running if it wrote
    something in the last `patience` seconds. Raise FileError if the folder holds no run.
    """
    run = _RunFiles(folder, patience)
    begun = [n for n, name in enumerate(PIPELINE) if name in run.logs or run.output(name).exists()]
    if not (run.logs or run.shards or begun):
        raise FileError(
            folder,
            "no run wrote anything here",
            "give the folder RESULTS/EXPERIMENT of a run that has begun, as results/demo",
        )
    to_come = filter(run.may_come, PIPELINE[max(begun, default=-1) + 1 :])
    names = {*run.logs, *(PIPELINE[n] for n in begun), *to_come}
    return [StageState(name, run.jobs(name)) for name in sorted(names, key=_place)]


def _place(stage: str) -> tuple[int, int, str]:
    """Return the sort key of a stage."""
    rules, rule = list(STAGES), stage.split("/")[0]
    return (
        ORDER.index(stage) if stage in ORDER else len(ORDER),
        rules.index(rule) if rule in rules else len(rules),
        stage,
    )


class _RunFiles:
    """The files of a run: the logs of each stage, and the names of the shards."""

    def __init__(self, folder: Path, patience: float) -> None:
        self.folder, self.patience, self.now = folder, patience, time.time()
        logs = {log for path in _files(folder / "logs") if (log := _log_of(path))}
        self.logs: dict[str, set[Path]] = defaultdict(set)
        for log in logs:
            self.logs[self._stage_of(log)].add(log)
        # If the number of shards was changed, the files of the earlier number are still there.
        counts = {
            path: int(found[1])
            for path in (*logs, *_files(folder / "data"))
            if (found := SHARD.fullmatch(path.stem))
        }
        count = counts[max(counts, key=_written)] if counts else 0
        self.shards = [f"{number}-of-{count}" for number in range(1, count + 1)]

    def _stage_of(self, log: Path) -> str:
        name = log.relative_to(self.folder / "logs").with_suffix("")
        if name.parts[0] in TRAININGS:
            return str(name)
        if name.parts[0] in SHARDED and SHARD.fullmatch(name.name):
            return str(name.parent)
        return name.parts[0]

    def output(self, stage: str) -> Path:
        """Return the folder of the outputs of a training, or of a stage that runs in shards."""
        rule, *rest = stage.split("/")
        return self.folder.joinpath({**SHARDED, **TRAININGS}[rule], *rest)

    def index(self, stage: str, shard: str) -> Path:
        """Return the file that lists the images of a shard."""
        split = stage.split("/")[-1]
        return self.folder / "data" / (split if split in SPLITS else "train") / f"{shard}.json"

    def may_come(self, stage: str) -> bool:
        """Return whether a stage that has not begun may run: only if its images are listed."""
        if stage.split("/")[0] in TRAININGS or not self.shards:
            return True
        first = self.shards[0]
        return self.index(stage, first).exists() or not self.index("infer_cam", first).exists()

    def jobs(self, stage: str) -> list[JobState]:
        """Return the jobs of a stage, with those to come as far as they are known."""
        rule = stage.split("/")[0]
        if rule in TRAININGS:
            return [self._training(stage)]
        if rule in SHARDED:
            return [self._shard(stage, shard) for shard in self.shards]
        return [self._job(log, self._was_measured(log)) for log in sorted(self.logs[stage])]

    def _training(self, stage: str) -> JobState:
        weights = self.output(stage) / "weights.safetensors"
        job = self._job(self.folder / "logs" / f"{stage}.log", weights.exists())
        pace = job.pace
        if pace is None:
            return job
        job = replace(job, done=pace.done, total=pace.total)
        if not self._is_at_work(job) or pace.seconds_left is None:
            return job
        left = max(0.0, pace.seconds_left - (job.quiet or 0.0))
        return replace(job, images_per_second=pace.images_per_second, seconds_left=left)

    def _shard(self, stage: str, shard: str) -> JobState:
        manifest = self.output(stage) / f"{shard}.json"
        journal = manifest.with_suffix(".journal")
        log = self.folder / "logs" / stage / f"{shard}.log"
        job = self._job(log, manifest.exists(), journal)
        pace = job.pace
        index = self.index(stage, shard)
        images = _image_ids(index, _written(index))
        total = len(images) if images is not None else pace.total if pace else None
        if job.state == DONE:
            done = pace.total if pace else total  # the index may be a newer one
        elif pace and job.state != WAITING:
            done = pace.done
        else:
            # Images that the job has not checked yet.
            done = len(journal_ids(journal) & (images or set()))
        job = replace(job, done=done if total is None or done is None else min(done, total))
        rate = pace.images_per_second if pace and self._is_at_work(job) else None
        return replace(job, total=total, images_per_second=rate)

    def _is_at_work(self, job: JobState) -> bool:
        """Return whether a job runs and wrote lately; the pace of one that hangs is outdated."""
        return job.state == RUNNING and job.quiet is not None and job.quiet < self.patience

    def _job(self, log: Path, made: bool | None, journal: Path | None = None) -> JobState:
        """Return a job by its log. made: whether its output is there; None if unknown."""
        text = _tail(log)
        found = read_log(text or "")
        written = max(_written(path) for path in (log, journal) if path)
        quiet = max(0.0, self.now - written) if written else None
        state = self._state(log, text, found.end, made, quiet)
        return JobState(log, state, quiet, found.line, found.pace)

    def _state(
        self, log: Path, text: str | None, end: str | None, made: bool | None, quiet: float | None
    ) -> str:
        if end is not None:
            return WAITING if end == DONE and made is False else end
        held = _is_held(lock_of(log))
        if held:
            return RUNNING
        if made:
            return DONE
        if text is None:
            return WAITING
        alive = held is None and quiet is not None and quiet < self.patience
        return RUNNING if alive else SILENT

    def _was_measured(self, log: Path) -> bool | None:
        """Return True if the benchmark of a job is newer than its log; None: unknown."""
        table = self.folder / "benchmarks" / log.relative_to(self.folder / "logs")
        return _written(table.with_suffix(".tsv")) >= max(_written(log), 1.0) or None


def _files(folder: Path) -> Iterator[Path]:
    for root, _, names in os.walk(folder):
        yield from (Path(root, name) for name in names)


def _is_held(lock: Path) -> bool | None:
    """Return whether a process holds a lock; None if this machine cannot see it."""
    try:
        with open(lock) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            holder = file.read()
    except BlockingIOError:
        return True
    except (OSError, ValueError):
        return None
    # A lock that another machine holds may look free from here.
    return False if f" on {platform.node()} (since " in holder else None


def _log_of(path: Path) -> Path | None:
    """Return the log that a file is, or is the lock of; None for other files."""
    found = LOG.fullmatch(path.name)
    return path.with_name(found[1] or found[2]) if found else None


def _written(path: Path) -> float:
    """Return when a file was last written, in seconds since 1970; 0 if there is none."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _tail(path: Path) -> str | None:
    """Return the end of a text file; None if there is none."""
    try:
        if not path.is_file():
            return None
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
            return file.read(TAIL_BYTES).decode(errors="replace")
    except OSError:
        return None


@lru_cache(maxsize=4096)
def _image_ids(index: Path, _: float) -> frozenset[str] | None:
    """Return the ids of an index's images; None if it is damaged. `_` is its time of writing."""
    with suppress(OSError, ValueError, LookupError, TypeError, RecursionError):
        return frozenset(str(entry["id"]) for entry in json.loads(index.read_bytes())["images"])
    return None
