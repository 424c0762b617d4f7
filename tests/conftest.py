"""Fixtures that several folders of tests share."""

import gc
import os
from pathlib import Path

import filelock
import pytest
import torch
from hypothesis import settings

from helpers.project import Project

torch.set_num_threads(1)
gc.set_threshold(50_000)  # the tests make many objects when they are collected
# The same hypothesis examples on every run.
settings.register_profile("unit", max_examples=60, deadline=None, derandomize=True, database=None)
settings.load_profile("unit")


@pytest.fixture(scope="session")
def golden() -> Path:
    """The golden vectors: those of $GOLDEN_DIR, else the reduced set of this repository."""
    folder = Path(os.environ.get("GOLDEN_DIR") or Path(__file__).parent / "parity" / "data")
    if not folder.is_dir():
        pytest.skip(f"no golden vectors: {folder} is no folder; set GOLDEN_DIR to theirs")
    return folder


@pytest.fixture(scope="session")
def finished(tmp_path_factory, worker_id) -> Project:
    """A project whose reduced demo has run to its end. Tests must leave it as it was.

    The processes of pytest share one.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "finished"
    folder.mkdir(exist_ok=True)
    with filelock.FileLock(folder / "lock"):
        if not (folder / "done").is_file():
            done = Project.new(folder / "project").snakemake()
            assert done.returncode == 0, done.stdout + done.stderr
            (folder / "done").touch()
    return Project(folder / "project")


@pytest.fixture
def copied(finished, tmp_path) -> Project:
    """A finished project that may be changed."""
    return finished.copy(tmp_path / "project")
