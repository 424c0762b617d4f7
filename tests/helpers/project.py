"""Copies of the project to run real workflows in, and the reduced demo that they run."""

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil


ROOT = Path(__file__).parents[2]
PARTS = ("Snakefile", "rules", "workflow_scripts", "config", "profiles", "envs")
# The demo, small enough for a test: it has to run, not to learn.
REDUCED = {
    "dataset": {"demo": {"train": 12, "val": 6, "size": 64}},
    "classifier": {"epochs": 1, "batch_size": 4, "input_size": 64},
    "segmentation": {"iterations": 2, "batch_size": 2, "crop_size": 64},
    "evaluation": {"sheet_images": 3},
    "runtime": {"workers": 0},
}


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
        return run(self.command(*arguments, settings=settings), self.folder)

    def command(self, *arguments: str, settings: dict | None = None) -> list[str]:
        """The command line of `snakemake`."""
        command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
        return [*command, *config_options(settings)]

    def looks(self, *commands: list[str]) -> list[dict[str, set[str]]]:
        """Of each command line of snakemake: rule -> its stale files, named from the results."""
        done = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("looks.py"))],
            cwd=self.folder,
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
            unchanged = row["status"] in ("ok", "set of input files changed", "removed temp file")
            if not unchanged or row["plan"] == "update pending":
                file = row["output_file"].removeprefix(f"{self.results.relative_to(self.folder)}/")
                stale.setdefault(row["rule"], set()).add(file)
        return stale

    def stale(self, settings: dict | None = None) -> set[str]:
        """The rules that a dry run would execute."""
        done = self.snakemake("--dry-run", settings=settings)
        assert done.returncode == 0, done.stdout + done.stderr
        lines = (done.stdout + done.stderr).splitlines()
        named = (
            line.split()[1].rstrip(":")
            for line in lines
            if line.startswith(("rule ", "checkpoint ", "localrule ", "localcheckpoint "))
        )
        return set(named) - {"all"}


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


def run(command: list, folder: Path, seconds: int = 900) -> subprocess.CompletedProcess:
    """Run a command to its end; its output is text."""
    # Passive threads give the cores away while they wait: several tests share them.
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    return subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=environment,
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
    """Predict a shard into `folder`: images, logits/1-of-2 and their manifests."""
    return run(
        [
            sys.executable, ROOT / "workflow_scripts/predict.py",
            "--weights", project.results / "segmentation/final/weights.safetensors",
            "--index", index,
            "--folder", folder / "images", "--manifest", folder / "1-of-2.json",
            "--logits", folder / "logits/1-of-2",
            "--logits-manifest", folder / "logits/1-of-2.json",
        ],
        project.folder,
    )  # fmt: skip
