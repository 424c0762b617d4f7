"""The number of GPUs that a run gives its jobs at the same time."""

import re

import pytest

from helpers.project import Project
from helpers.settings import config_problem
from i2crc.runtime import gpus


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    return Project.new(tmp_path_factory.mktemp("gpus") / "project")


@pytest.mark.parametrize(
    ("environment", "options", "pool"),
    [
        ({"CUDA_VISIBLE_DEVICES": "7,8,9"}, ["--resources", "mem_mb=9000"], 3),
        ({"CUDA_VISIBLE_DEVICES": "7,8,9"}, ["--resources", "gpu=2"], 2),
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
    done = project.snakemake(
        "--dry-run", "--printshellcmds", *options, settings={"runtime": {"gpus": 5}}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"train_classifier\.py .* --gpus (\d+) ", done.stdout)[1] == str(pool)


def test_submitted_jobs_ask_for_no_more_than_a_node_of_slurm_has(project, tmp_path, monkeypatch):
    (tmp_path / "sinfo").write_text("#!/bin/sh\necho '2|15000|(null)'\n")
    (tmp_path / "sinfo").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    slurm = ("--dry-run", "--workflow-profile", "profiles/slurm", "--cores", "16")
    said = project.snakemake(*slurm).stdout
    said, training = said.split("rule train_classifier:")
    assert "nodes of SLURM have at most 2 CPUs, 15000 MB and 0 GPUs" in said
    training = training.split("\nrule")[0]
    assert "mem_mb=15000" in training and "gpu=0" in training
    assert "--gpus 0 --threads 2 " in training


def test_several_nodes_without_slurm_are_refused_at_once(project, monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    settings = {"runtime": {"gpus": 2, "nodes": 2}}
    done = project.snakemake("--dry-run", settings=settings)
    assert done.returncode != 0
    assert "runtime.nodes is 2, but only a SLURM job has several nodes" in done.stdout + done.stderr
    unequal = config_problem({"runtime": {"gpus": 3, "nodes": 2}})
    assert "3 cannot be shared out equally to 2 nodes" in unequal
    done = project.snakemake("--dry-run", "--executor", "slurm", "--jobs", "9", settings=settings)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rule train_classifier:" in done.stdout
    assert "nodes=2, tasks=2" in done.stdout
