"""Copies of the project to run real workflows in, and the reduced demo that they run."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil

from helpers import prestarted

ROOT = Path(__file__).parents[2]
PARTS = ("Snakefile", "rules", "workflow_scripts", "config", "profiles", "envs")
# The demo, small enough for a test: it has to run, not to learn.
REDUCED = {
    "shards": 1,
    "dataset": {"demo": {"train": 12, "val": 6, "size": 64}},
    "classifier": {"epochs": 1, "batch_size": 4, "input_size": 64},
    "segmentation": {"iterations": 2, "batch_size": 2, "crop_size": 64},
    "evaluation": {"sheet_images": 3},
    "runtime": {"workers": 0, "inference_threads": 1},
}


# Scored stage -> split and number of images of the reduced demo.
SCORED_IMAGES = {
    "cam": ("train", 12),
    "initial_labels": ("train", 12),
    "train_aug_prediction": ("train", 12),
    "train_aug_crf": ("train", 12),
    "refined_labels": ("train", 12),
    "val_prediction": ("val", 6),
    "val_crf": ("val", 6),
}
# What the log of a stage says that finds its work done.
FOUND_DONE = re.compile(
    r"(?<!were )already (made|trained|checked|drawn)\b|\b(\d+) of \2 images were already"
)

# A figure among others that were already made.
DRAWN = re.compile(r": is drawn$", re.MULTILINE)


class Project:
    """A copy of the project in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.results = folder, folder / "results" / "demo"

    @classmethod
    def new(cls, folder: Path) -> "Project":
        """A copy without results."""
        folder.mkdir(parents=True)
        for part in PARTS:
            source, target = ROOT / part, folder / part
            copy = shutil.copytree if source.is_dir() else shutil.copy2
            copy(source, target)
        return cls(folder)

    def copy(self, folder: Path) -> "Project":
        """The same, with its results and Snakemake's records, in another folder."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Project(folder)

    def snakemake(
        self, *arguments: str, settings: dict | None = None
    ) -> subprocess.CompletedProcess:
        """Run snakemake with the reduced demo's settings, changed by `settings`."""
        words = self.arguments(*arguments, settings=settings)
        return prestarted.snakemake(words, self.folder, environment(self.folder))

    def command(self, *arguments: str, settings: dict | None = None) -> list[str]:
        """The command line of `snakemake`."""
        words = self.arguments(*arguments, settings=settings)
        return [sys.executable, "-m", "snakemake", *words]

    @staticmethod
    def arguments(*arguments: str, settings: dict | None = None) -> list[str]:
        """What follows `snakemake` on its command line."""
        return ["--cores", "2", *arguments, *config_options(settings)]

    def run(self, *arguments: str, settings: dict | None = None) -> "Run":
        """Run snakemake to its end, and see from the logs of the stages what it computed."""
        begin = time.time()
        done = self.snakemake(*arguments, settings=settings)
        assert done.returncode == 0, done.stdout + done.stderr
        return Run(self.results / "logs", begin)

    def looks(self, *commands: list[str]) -> list[dict[str, set[str]]]:
        """Of each command line of snakemake: rule -> its files that are stale by themselves.

        They are named from the results. What only follows from a stale file is left out.
        """
        done = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("looks.py"))],
            cwd=self.folder,
            env=environment(self.folder),
            input=json.dumps(commands),
            capture_output=True,
            text=True,
            check=True,
        )
        return [self._stale_files(*one) for one in json.loads(done.stdout)]

    def _stale_files(self, status: int, text: str) -> dict[str, set[str]]:
        assert status == 0, text
        stale: dict[str, set[str]] = {}
        for row in csv.DictReader(
            [line for line in text.splitlines() if line.count("\t") >= 5], delimiter="\t"
        ):
            if row["status"] != "ok":
                file = row["output_file"].removeprefix(f"{self.results.relative_to(self.folder)}/")
                stale.setdefault(row["rule"], set()).add(file)
        return stale

    def planned(self, *arguments: str, settings: dict | None = None) -> set[str]:
        """The rules that a dry run lists."""
        done = self.snakemake("--dry-run", *arguments, settings=settings)
        assert done.returncode == 0, done.stdout + done.stderr
        lines = (done.stdout + done.stderr).splitlines()
        named = (
            line.split()[1].rstrip(":")
            for line in lines
            if line.startswith(("rule ", "localrule "))
        )
        return set(named) - {"all"}


class Run:
    """What a run did, by the logs that it wrote: the jobs of each rule, and which of them computed.

    A job that finds its work done starts, but does not compute.
    """

    def __init__(self, logs: Path, begin: float) -> None:
        self.started: Counter[str] = Counter()
        self.computed: Counter[str] = Counter()
        for log in logs.rglob("*.log"):
            if log.stat().st_mtime >= begin:
                rule = log.relative_to(logs).parts[0].removesuffix(".log")
                self.started[rule] += 1
                text = log.read_text()
                self.computed[rule] += bool(DRAWN.search(text) or not FOUND_DONE.search(text))
        self.computed = +self.computed


def config_options(settings: dict | None = None) -> list[str]:
    """The options that give the reduced demo's settings, changed by `settings`."""
    merged = merge(REDUCED, settings or {})
    return ["--config", *(f"{key}={json.dumps(value)}" for key, value in merged.items())]


def merge(below: dict, above: dict) -> dict:
    """Nested settings on top of others."""
    merged = dict(below)
    for key, value in above.items():
        merged[key] = merge(merged.get(key, {}), value) if isinstance(value, dict) else value
    return merged


def environment(folder: Path) -> dict[str, str]:
    """The environment of a command in a folder; in a copy of the project, with its own library."""
    # Passive threads give the cores away while they wait: several tests share them.
    found = {**os.environ, "PYTHONUNBUFFERED": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    if (folder / "workflow_scripts").is_dir():
        found["PYTHONPATH"] = str(folder / "workflow_scripts")
    return found


def run(command: list, folder: Path, seconds: int = 900) -> subprocess.CompletedProcess:
    """Run a command to its end; its output is text."""
    return subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def called(name: str, processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Those with the name in their command line; one that has ended meanwhile has none."""
    found = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if name in " ".join(process.cmdline()):
                found.append(process)
    return found


def predict(project: Project, index: Path, folder: Path) -> subprocess.CompletedProcess:
    """Predict a shard into `folder`: images, logits/maps and their manifests."""
    return run(
        [
            sys.executable, ROOT / "workflow_scripts/segmentation/predict.py",
            "--weights", project.results / "segmentation/final/weights.safetensors",
            "--index", index,
            "--folder", folder / "images", "--manifest", folder / "1-of-1.json",
            "--logits", folder / "logits/maps",
            "--logits-manifest", folder / "logits/1-of-1.json",
        ],
        project.folder,
    )  # fmt: skip
