"""Copies of the project to run real workflows in, and the reduced demo that they run."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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
        self.folder = folder
        folder.mkdir(parents=True)
        for part in PARTS:
            source, target = ROOT / part, folder / part
            copy = shutil.copytree if source.is_dir() else shutil.copy2
            copy(source, target)
        self.results = folder / "results" / "demo"

    def snakemake(
        self, *arguments: str, settings: dict | None = None
    ) -> subprocess.CompletedProcess:
        """Run snakemake with the reduced demo's settings, changed by `settings`."""
        return run(self.command(*arguments, settings=settings), self.folder)

    def command(self, *arguments: str, settings: dict | None = None) -> list[str]:
        """The command line of `snakemake`."""
        merged = {key: {**REDUCED.get(key, {})} for key in REDUCED}
        for key, value in (settings or {}).items():
            merged[key] = {**merged.get(key, {}), **value} if isinstance(value, dict) else value
        config = [f"{key}={json.dumps(value)}" for key, value in merged.items()]
        command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
        return [*command, "--config", *config]

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


def run(command: list, folder: Path) -> subprocess.CompletedProcess:
    """Run a command to its end; its output is text."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    return subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Project:
    """A project whose reduced demo has run to its end. Tests must leave it as it was."""
    project = Project(tmp_path_factory.mktemp("finished") / "project")
    done = project.snakemake()
    assert done.returncode == 0, done.stdout + done.stderr
    return project
