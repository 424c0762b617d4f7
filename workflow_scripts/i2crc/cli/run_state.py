"""How a run stands, from the files of its results alone: its jobs, stage by stage.

A job is known by its log (`logs/RULE/.../NAME.log`) and the lock beside it. Nothing is written, and
what is half-written, damaged, or vanishes meanwhile counts as not there.
"""

import json
import os
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from i2crc.artifacts.journal import journal_ids
from i2crc.artifacts.stages import PIPELINE, STAGES
from i2crc.runtime.errors import FileError
from i2crc.runtime.locks import is_held
from i2crc.runtime.log import lock_of
from i2crc.runtime.progress import DONE, Pace, read_log

# How a job stands that has not ended; SILENT: it began, but shows no sign of life. Else as job_log
# says: DONE, FAILED, STOPPED.
RUNNING, SILENT, WAITING = "running", "silent", "waiting"
FIRST = (
    "render_demo", "prepare_data", "download_saliency", "check_leaks", "preflight",
    "preflight_published", "fetch_checkpoint",
)  # fmt: skip
ORDER = (*FIRST, *PIPELINE)
# Where the rules that run in shards leave their manifests, and trainings their weights.
SHARDED = {stage.name: stage.output for stage in STAGES.values() if stage.sharded}
TRAININGS = {stage.name: stage.output for stage in STAGES.values() if stage.training}
SPLITS = ("train", "val", "test")
SHARD = re.compile(r"[1-9]\d{0,3}-of-([1-9]\d{0,3})", re.ASCII)
# A log, or the lock of one.
LOG = re.compile(r"([^.].*\.log)|\.([^.].*\.log)\.lock", re.DOTALL)
TAIL_BYTES = 2**16


@dataclass(frozen=True)
class JobState:
    """A job: its log, how it stands, and how far it is; None where that is not known.

    `quiet` are the seconds since it last wrote; `line` is its error or the last line of its log,
    `pace` the last that the log says of it. `done` of `total` are images, or iterations of a
    training.
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
    """The jobs of a rule, or of one round and split of it: those below one folder of the logs."""

    name: str
    jobs: list[JobState]

    @property
    def rule(self) -> str:
        """The rule whose jobs these are."""
        return self.name.split("/")[0]

    def count(self, *states: str) -> int:
        """How many jobs stand so."""
        return sum(job.state in states for job in self.jobs)

    @property
    def done(self) -> int | None:
        """Images or iterations done."""
        return _sum(job.done for job in self.jobs)

    @property
    def total(self) -> int | None:
        """Images or iterations in all."""
        return _sum(job.total for job in self.jobs)

    @property
    def images_per_second(self) -> float | None:
        """Images/s of the jobs that run, as far as they have told."""
        return _sum(job.images_per_second for job in self.jobs if job.images_per_second)

    @property
    def seconds_left(self) -> float | None:
        """Until the end of the training, or the last image at the pace of the jobs that run now."""
        if self.rule in TRAININGS:
            return _sum(job.seconds_left for job in self.jobs)
        if None in (self.done, self.total, self.images_per_second):
            return None
        return (self.total - self.done) / self.images_per_second


def _sum(numbers: Iterable[float | None]) -> float | None:
    found = list(numbers)
    return sum(found) if found and None not in found else None


def read_stages(folder: Path, patience: float) -> list[StageState]:
    """The stages of the run whose results are in `folder`, in the order of the pipeline.

    Where it cannot be seen whether a job holds its lock, what it wrote in the last `patience`
    seconds is its sign of life.
    """
    run = _RunFiles(folder, patience)
    begun = [n for n, name in enumerate(PIPELINE) if name in run.logs or run.output(name).exists()]
    if not (run.logs or run.shards or begun):
        raise FileError(
            folder,
            "no run has left anything here",
            "give the folder RESULTS/EXPERIMENT of one that has begun, as results/demo",
        )
    to_come = filter(run.may_come, PIPELINE[max(begun, default=-1) + 1 :])
    names = {*run.logs, *(PIPELINE[n] for n in begun), *to_come}
    return [StageState(name, run.jobs(name)) for name in sorted(names, key=_place)]


def _place(stage: str) -> tuple[int, int, str]:
    """What stages are sorted by."""
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
        # Where the number of shards was changed, those of before are still there.
        shards = [path for path in (*logs, *_files(folder / "data")) if SHARD.fullmatch(path.stem)]
        newest = max(shards, key=_written, default=None)
        count = int(SHARD.fullmatch(newest.stem)[1]) if newest else 0
        self.shards = [f"{number}-of-{count}" for number in range(1, count + 1)]

    def _stage_of(self, log: Path) -> str:
        name = log.relative_to(self.folder / "logs").with_suffix("")
        if name.parts[0] in TRAININGS:
            return str(name)
        if name.parts[0] in SHARDED and SHARD.fullmatch(name.name):
            return str(name.parent)
        return name.parts[0]

    def output(self, stage: str) -> Path:
        """The folder of what a training, or a stage that runs in shards, makes."""
        rule, *rest = stage.split("/")
        return self.folder.joinpath({**SHARDED, **TRAININGS}[rule], *rest)

    def index(self, stage: str, shard: str) -> Path:
        """The file that lists the images of a shard."""
        split = stage.split("/")[-1]
        return self.folder / "data" / (split if split in SPLITS else "train") / f"{shard}.json"

    def may_come(self, stage: str) -> bool:
        """Whether a stage that has not begun is to come: not without a list of its images."""
        if stage.split("/")[0] in TRAININGS or not self.shards:
            return True
        first = self.shards[0]
        return self.index(stage, first).exists() or not self.index("infer_cam", first).exists()

    def jobs(self, stage: str) -> list[JobState]:
        """The jobs of a stage, those to come as far as they are known."""
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
            # Until the job has looked which of these are still right.
            done = len(journal_ids(journal) & (images or set()))
        job = replace(job, done=done if total is None or done is None else min(done, total))
        rate = pace.images_per_second if pace and self._is_at_work(job) else None
        return replace(job, total=total, images_per_second=rate)

    def _is_at_work(self, job: JobState) -> bool:
        """Whether a job runs, and wrote lately; of one that hangs, the pace says nothing."""
        return job.state == RUNNING and job.quiet is not None and job.quiet < self.patience

    def _job(self, log: Path, made: bool | None, journal: Path | None = None) -> JobState:
        """A job by its log. made: whether what it makes is there; None where that is not known."""
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
        held = is_held(lock_of(log))
        if held:
            return RUNNING
        if made:
            return DONE
        if text is None:
            return WAITING
        alive = held is None and quiet is not None and quiet < self.patience
        return RUNNING if alive else SILENT

    def _was_measured(self, log: Path) -> bool | None:
        """Whether Snakemake has measured a job to its end, after its log; None: nobody knows."""
        table = self.folder / "benchmarks" / log.relative_to(self.folder / "logs")
        return _written(table.with_suffix(".tsv")) >= max(_written(log), 1.0) or None


def _files(folder: Path) -> Iterator[Path]:
    for root, _, names in os.walk(folder):
        yield from (Path(root, name) for name in names)


def _log_of(path: Path) -> Path | None:
    """The log that a file is, or is the lock of."""
    found = LOG.fullmatch(path.name)
    return path.with_name(found[1] or found[2]) if found else None


def _written(path: Path) -> float:
    """When a file was last written, in seconds since 1970; 0 where there is none."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _tail(path: Path) -> str | None:
    """The end of a text file; None where there is none."""
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
    """The images that an index lists; None where it does not say. Read anew when written anew."""
    with suppress(OSError, ValueError, LookupError, TypeError, RecursionError):
        return frozenset(str(entry["id"]) for entry in json.loads(index.read_bytes())["images"])
    return None
