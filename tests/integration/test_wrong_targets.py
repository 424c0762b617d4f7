"""A target, a report or a data set that is not there: what to run instead is named at once."""

import os
import signal
import subprocess

import pytest

from helpers.project import Project, environment


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    return Project.new(tmp_path_factory.mktemp("targets") / "project")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-n", "score"], "score is no target; the nearest one is scores"),
        (["-n", "evalute_checkpoint"], "the nearest one is evaluate_checkpoint"),
        (["results/demo/scores/tabel.md"], "the nearest one is results/demo/scores/table.md"),
        (["-n", "zzzqqq"], "zzzqqq is no target; the targets are all, report, cams, "),
        (["--report", "r.html"], "Make the figures first: snakemake --cores all report"),
    ],
)
def test_what_to_run_instead_is_named(project, arguments, words):
    done = project.snakemake(*arguments)
    assert done.returncode == 1
    assert words in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("target", "dataset", "words"),
    [
        (
            "evaluate_checkpoint",
            {"root": "nowhere"},
            "dataset.root: nowhere: no such folder below {folder}; give yours with --config",
        ),
        (
            "evaluate_checkpoint",
            {"val_list": ""},
            "dataset.val_list is empty (none), but the target",
        ),
        ("voc_submission", {}, "dataset.test_list is empty (none), but the target"),
    ],
)
def test_a_dry_run_without_data_is_refused_as_a_real_one(project, target, dataset, words):
    done = project.snakemake("--dry-run", target, settings={"dataset": dataset})
    assert done.returncode == 1
    said = (done.stdout + done.stderr).splitlines()
    assert any(line.startswith(words.format(folder=project.folder)) for line in said)
    assert not any(word in line for word in ("Traceback", ".smk") for line in said)


def test_training_needs_no_validation_list(project):
    settings = {"dataset": {"val_list": ""}}
    assert "train_segmentation" in project.planned("final_segmentation", settings=settings)


@pytest.mark.exhaustive
def test_a_second_ctrl_c_ends_a_run_without_a_traceback(tmp_path):
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        pytest.skip("SIGINT is ignored here, as by nohup")
    project = Project.new(tmp_path / "project")
    process = subprocess.Popen(
        project.command("cams", settings={"classifier": {"epochs": 1000}}),
        cwd=project.folder,
        env=environment(project.folder),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    lines = iter(process.stderr.readline, "")
    assert any("start  train_classifier" in line for line in lines)
    os.killpg(process.pid, signal.SIGINT)
    assert any("Terminating processes on user request" in line for line in lines)
    os.kill(process.pid, signal.SIGINT)
    said = process.stderr.read()
    assert process.wait() == 128 + signal.SIGINT
    assert "Ended at once. Start the same command again and it continues." in said
    assert "Traceback" not in said
