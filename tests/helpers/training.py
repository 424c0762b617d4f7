"""Trainings of the classifier as processes, on the data of the reduced demo."""

import json
import subprocess
import sys
from pathlib import Path

from helpers.project import ROOT, environment

SETTINGS = {
    "backbone": "efficientnet_lite0",
    "output_stride": 32,
    "weights": {"source": "random"},
    "head_convs": 0,
    "head_std": 0.01,
    "input_size": 64,
    "flip": True,
    "batch_size": 4,
    "epochs": 6,
    "schedule": {"name": "poly"},
}


class Training:
    """Command lines that train the classifier on the data in `results`, each in its own folder."""

    def __init__(self, results: Path, folder: Path) -> None:
        self.results, self.folder = results, folder

    def command(self, name: str, *arguments: str, **settings) -> list[str]:
        """Return the command line of the training `name`, with some settings changed."""
        place = self.folder / name
        return [
            sys.executable, str(ROOT / "workflow_scripts/classifier/train_classifier.py"),
            "--settings", json.dumps({**SETTINGS, **settings}),
            "--index", str(self.results / "data/train.json"),
            "--saliency", str(self.results / "saliency/manifest.json"),
            "--run-folder", str(place / "run"),
            "--weights", str(self.weights(name)),
            "--history", str(place / "history.csv"),
            "--log", str(place / "log"),
            *arguments,
        ]  # fmt: skip

    def weights(self, name: str) -> Path:
        """Return the path of the trained weights of `name`."""
        return self.folder / name / "weights.safetensors"

    def start(self, name: str, *arguments: str) -> subprocess.Popen:
        """Start the training `name`; its log is on standard error."""
        folder = self.results.parents[1]
        return subprocess.Popen(
            self.command(name, *arguments),
            cwd=folder,
            env=environment(folder),
            stderr=subprocess.PIPE,
            text=True,
        )


def runtime(**settings) -> tuple[str, str]:
    """Return the option for the section `runtime`: a log line per iteration, and `settings`."""
    return "--runtime", json.dumps({"workers": 1, "log_seconds": 0.001, **settings})


def wait_for_iteration(process: subprocess.Popen, number: int) -> None:
    """Wait until a training logs an iteration; raise AssertionError if it ends before."""
    for line in process.stderr:
        if f"iteration {number}/" in line:
            return
    raise AssertionError(f"the training ended before iteration {number}")
