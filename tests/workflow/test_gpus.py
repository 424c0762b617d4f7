"""How many GPUs a run gives its jobs at the same time."""

import re

import pytest

from i2crc import gpus
from workflow.conftest import Project


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    return Project.new(tmp_path_factory.mktemp("gpus") / "project")


@pytest.mark.parametrize(
    ("environment", "options", "pool"),
    [
        ({"CUDA_VISIBLE_DEVICES": "7,8,9"}, [], 3),
        ({"CUDA_VISIBLE_DEVICES": "7,8,9"}, ["--resources", "gpu=2"], 2),
        ({"CUDA_VISIBLE_DEVICES": "7,8,9"}, ["--resources", "mem_mb=9000"], 3),
        ({"CUDA_VISIBLE_DEVICES": ""}, [], 1),
        ({"CUDA_VISIBLE_DEVICES": "7,8,9", "SLURM_JOB_ID": "1"}, [], 1),
        # Submitted jobs are not limited by what this machine has.
        ({"CUDA_VISIBLE_DEVICES": "7,8,9"}, ["--executor", "slurm", "--jobs", "9"], 5),
    ],
)
def test_pool_is_that_of_this_machine(project, monkeypatch, environment, options, pool):
    for name in gpus.SCHEDULERS:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    # The pool caps what a job asks for.
    done = project.snakemake("--dry-run", *options, settings={"runtime": {"gpus": 5}})
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"train_classifier\.py .* --gpus (\d+) ", done.stdout)[1] == str(pool)
