"""The profile for clusters: a PBS played by small scripts, and the answers of LSF and SGE."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from workflow.conftest import ROOT, Project, config_options, run

PROFILE = "profiles/cluster-generic"
LSF_JOBS = {
    "PEND - -": "running",
    "RUN - -": "running",
    "DONE - -": "success",
    "EXIT 140 TERM_MEMLIMIT": "failed",
    "": "running",
}
# What `qstat -j` ends with, and what `qacct -j` says.
SGE_JOBS = {
    (0, ""): "running",
    (1, ""): "running",
    (1, "failed       0\nexit_status  0"): "success",
    (1, "failed       0\nexit_status  137"): "failed",
    (1, "failed       37  : qmaster enforced h_rt\nexit_status  0"): "failed",
}


@pytest.fixture
def pbs(tmp_path, monkeypatch) -> Path:
    """The folder in which the played PBS keeps its jobs."""
    folder = tmp_path / "pbs"
    folder.mkdir()
    monkeypatch.setenv("FAKE_PBS", str(folder))
    monkeypatch.setenv("PATH", f"{ROOT / 'tests/workflow/fake_pbs'}:{os.environ['PATH']}")
    return folder


def command(*arguments: str) -> list[str]:
    profile = ["--workflow-profile", PROFILE, "--seconds-between-status-checks", "1"]
    return [sys.executable, "-m", "snakemake", *arguments, *profile, *config_options()]


def play(tmp_path: Path, monkeypatch, **programs: str) -> None:
    """Put shell scripts in front of all other programs."""
    for name, script in programs.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")


def test_jobs_are_submitted_and_their_logs_stay_below_the_results(pbs, tmp_path):
    project = Project.new(tmp_path / "project")
    there = set(project.folder.iterdir())
    done = run(command("results/demo/data/train.json"), project.folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (project.results / "data/train.json").is_file()
    assert (project.results / "logs/prepare_data/train.log.scheduler").stat().st_size
    first, second = sorted(path.read_text() for path in pbs.glob("*.call"))
    assert "-N prepare_data" in first and "-N render_demo" in second
    assert "ngpus=0:mem=4000mb -l walltime=3600" in second
    new = {path.name for path in set(project.folder.iterdir()) - there}
    assert new == {"results", ".snakemake"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pbs", "project"]


def test_a_failing_job_is_sent_again_with_more_and_its_log_is_shown(pbs, tmp_path):
    project = Project.new(tmp_path / "project")
    (project.results / "dataset").mkdir(parents=True)
    (project.results / "dataset/JPEGImages").write_text("in the way")
    done = run(command("render_demo", "--retries", "1"), project.folder)
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    log = (project.results / "logs/render_demo.log").read_text().splitlines()
    assert log[-1] in said
    assert "PBS job 1 ended with status 1 played" in said
    assert "Nothing finished is lost" in said
    memory = [(pbs / f"{number}.call").read_text().split("mem=")[1][:6] for number in (0, 1)]
    assert memory == ["4000mb", "8000mb"]


def test_ctrl_c_takes_the_jobs_out_of_the_queue(pbs, tmp_path):
    project = Project.new(tmp_path / "project")
    (pbs / "hold").touch()
    run_of_jobs = subprocess.Popen(command("render_demo"), cwd=project.folder)
    while not (pbs / "0.pid").is_file():
        assert run_of_jobs.poll() is None
        time.sleep(0.1)
    time.sleep(1)  # until Snakemake has the number of the job
    run_of_jobs.send_signal(signal.SIGINT)
    assert run_of_jobs.wait(60)
    with pytest.raises(ProcessLookupError):
        os.killpg(int((pbs / "0.pid").read_text()), 0)


def test_the_whole_run_asks_for_what_each_stage_needs(tmp_path):
    project = Project.new(tmp_path / "project")
    done = run(command("--dry-run"), project.folder)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    needs = {}
    for line in said.splitlines():
        words = line.split()
        if words[:1] in (["rule"], ["checkpoint"]):
            rule = words[1].rstrip(":")
        elif words[:1] == ["resources:"]:
            needs[rule] = line
    for rule, memory, minutes, gpu in (
        ("train_classifier", 16000, 480, 1),
        ("train_segmentation", 24000, 720, 1),
        ("infer_cam", 8000, 120, 1),
        ("predict", 12000, 120, 1),
        ("crf", 16000, 120, 0),
        ("preflight", 8000, 60, 0),
        ("score_table", 4000, 60, 0),
    ):
        for wanted in (f"mem_mb={memory},", f"runtime={minutes}", f"gpu={gpu}"):
            assert wanted in needs[rule]


@pytest.mark.parametrize(("said", "status"), LSF_JOBS.items())
def test_lsf_status(tmp_path, monkeypatch, said, status):
    play(tmp_path, monkeypatch, bjobs=f"echo '{said}'")
    assert run(["sh", f"{PROFILE}/lsf-status", "7"], ROOT).stdout == f"{status}\n"


def test_lsf_says_the_number_of_a_job(tmp_path, monkeypatch):
    play(tmp_path, monkeypatch, bsub="echo 'Job <714> is submitted to queue <normal>.'")
    assert run(["sh", f"{PROFILE}/lsf-submit", "job.sh"], ROOT).stdout == "714\n"
    play(tmp_path, monkeypatch, bsub="exit 255")
    assert run(["sh", f"{PROFILE}/lsf-submit", "job.sh"], ROOT).returncode == 255


@pytest.mark.parametrize(("said", "status"), SGE_JOBS.items())
def test_sge_status(tmp_path, monkeypatch, said, status):
    known, entry = said
    qacct = f"echo '{entry}'" if entry else "exit 1"
    play(tmp_path, monkeypatch, qstat=f"exit {known}", qacct=qacct)
    assert run(["sh", f"{PROFILE}/sge-status", "7"], ROOT).stdout == f"{status}\n"


@pytest.mark.parametrize(
    ("qstat", "status"),
    [
        ("echo 'qstat: Unknown Job Id 7' >&2; exit 153", "failed"),
        ("echo 'Connection refused' >&2; exit 255", "running"),
        ("echo '    job_state = F'", "failed"),  # deleted before it began
    ],
)
def test_pbs_without_an_answer_about_the_job(tmp_path, monkeypatch, qstat, status):
    play(tmp_path, monkeypatch, qstat=qstat)
    assert run(["sh", f"{PROFILE}/pbs-status", "7"], ROOT).stdout == f"{status}\n"
