"""The profile for PBS, LSF and SGE, with small scripts in place of the schedulers."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from helpers.project import ROOT, Project, config_options, run

PROFILE = "profiles/cluster-generic"
LSF_JOBS = {
    "PEND - -": "running",
    "RUN - -": "running",
    "DONE - -": "success",
    "EXIT 140 TERM_MEMLIMIT": "failed",
    "": "running",
    "Job <7> is not found": "failed",
    "Failed in an LSF library call: LIM is down; try later": "running",
}
# Added to a stage: it waits for a file.
MAIN = "def main(arguments: argparse.Namespace) -> None:\n"
WAIT = """    import time
    while not Path("results/go").exists():
        time.sleep(0.1)
"""
LSF_ANSWER = "'Job <714> is submitted to queue <normal>.'"
# Scheduler and GPUs -> options that the job is submitted with.
SUBMITTED = {
    ("pbs", "0"): ["-l select=1:ncpus=4:mem=8000mb -l", "walltime=5400"],
    ("pbs", "2"): ["select=1:ncpus=4:mem=8000mb:ngpus=2"],
    ("lsf", "0"): ["-n 4", "rusage[mem=8000MB]", "-M 8000MB", "-W 90"],
    ("lsf", "2"): ["-gpu num=2"],
    ("sge", "0"): ["-pe smp 4", "mem_free=8000M", "h_rt=5400"],
    ("sge", "2"): ["-l gpu=2"],
}
# Exit status of `qstat -j` and output of `qacct -j` -> state of the job.
SGE_JOBS = {
    (0, ""): "running",
    (1, ""): "running",
    (1, "failed       0\nexit_status  0"): "success",
    (1, "failed       0\nexit_status  137"): "failed",
    (1, "failed       37  : qmaster enforced h_rt\nexit_status  0"): "failed",
}


@pytest.fixture
def pbs(tmp_path, monkeypatch) -> Path:
    """The folder in which the PBS of the tests keeps its jobs."""
    folder = tmp_path / "pbs"
    folder.mkdir()
    monkeypatch.setenv("FAKE_PBS", str(folder))
    monkeypatch.setenv("PATH", f"{ROOT / 'tests/helpers/fake_pbs'}:{os.environ['PATH']}")
    return folder


def command(*arguments: str) -> list[str]:
    profile = ["--workflow-profile", PROFILE, "--seconds-between-status-checks", "1"]
    return [sys.executable, "-m", "snakemake", *arguments, *profile, *config_options()]


def wait_for(process: subprocess.Popen, file: Path, text: str) -> None:
    """Wait until a file contains a text; the process must not end before."""
    while not (file.is_file() and text in file.read_text()):
        assert process.poll() is None
        time.sleep(0.1)


def replace_programs(tmp_path: Path, monkeypatch, **programs: str) -> None:
    """Put shell scripts in the place of programs."""
    for name, script in programs.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")


def test_jobs_are_submitted_and_their_logs_stay_below_the_results(pbs, tmp_path):
    project = Project.new(tmp_path / "project")
    before = set(project.folder.iterdir())
    done = run(command("results/demo/data/train.json"), project.folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (project.results / "data/train.json").is_file()
    assert (project.results / "logs/prepare_data/train.log.scheduler").stat().st_size
    first, second = sorted(path.read_text() for path in pbs.glob("*.call"))
    assert ".prepare_data." in first and ".render_demo." in second
    assert "-l select=1:ncpus=1:mem=4000mb -l walltime=3600" in second
    new = {path.name for path in set(project.folder.iterdir()) - before}
    assert new == {"results", ".snakemake"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pbs", "project"]


@pytest.mark.exhaustive
def test_a_failing_job_is_submitted_again_with_more_and_its_log_is_shown(pbs, tmp_path):
    project = Project.new(tmp_path / "project")
    (project.results / "dataset").mkdir(parents=True)
    (project.results / "dataset/JPEGImages").write_text("in the way")
    done = run(command("render_demo", "--retries", "1"), project.folder)
    output = done.stdout + done.stderr
    assert done.returncode == 1, output
    log = (project.results / "logs/render_demo.log").read_text().splitlines()
    assert log[-1] in output
    assert "PBS job 1 ended with status 1 fake" in output
    assert "Nothing finished is lost" in output
    memory = [(pbs / f"{number}.call").read_text().split("mem=")[1][:6] for number in (0, 1)]
    assert memory == ["4000mb", "8000mb"]


def test_ctrl_c_takes_the_jobs_out_of_the_queue(pbs, tmp_path):
    project = Project.new(tmp_path / "project")
    (pbs / "hold").touch()
    output = tmp_path / "output"
    with open(output, "w") as file:
        run_of_jobs = subprocess.Popen(command("render_demo"), cwd=project.folder, stderr=file)
    wait_for(run_of_jobs, output, "with external jobid")
    run_of_jobs.send_signal(signal.SIGINT)
    assert run_of_jobs.wait(60)
    with suppress(psutil.NoSuchProcess):
        psutil.Process(int((pbs / "0.pid").read_text())).wait(60)


def test_the_whole_run_asks_for_what_each_stage_needs(pbs, tmp_path):
    project = Project.new(tmp_path / "project")
    done = run(command("--dry-run"), project.folder)
    assert done.returncode == 0, done.stdout + done.stderr
    needs = {}
    for line in (done.stdout + done.stderr).splitlines():
        words = line.split()
        if words[:1] == ["rule"]:
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


@pytest.mark.parametrize(("answer", "status"), LSF_JOBS.items())
def test_lsf_status(tmp_path, monkeypatch, answer, status):
    replace_programs(tmp_path, monkeypatch, bjobs=f"echo '{answer}'")
    assert run(["sh", f"{PROFILE}/lsf-status", "7"], ROOT).stdout == f"{status}\n"


@pytest.mark.parametrize(("scheduler", "gpus"), SUBMITTED)
def test_submission(tmp_path, monkeypatch, scheduler, gpus):
    write = f'printf "%s\\n" "$@" >{tmp_path}/given'
    replace_programs(
        tmp_path, monkeypatch, qsub=f"{write}; echo 714", bsub=f"{write}; echo {LSF_ANSWER}"
    )
    needs = [tmp_path / "a folder/x.log", "4", "8000", "90", gpus]
    submit = ["sh", f"{PROFILE}/{scheduler}-submit", *needs]
    assert run([*submit, "-q", "long", "job.sh"], ROOT).stdout == "714\n"
    given = (tmp_path / "given").read_text().splitlines()
    assert given[-3:] == ["-q", "long", "job.sh"]
    assert f"{tmp_path}/a folder/x.log.scheduler" in given and (tmp_path / "a folder").is_dir()
    options = " ".join(given)
    assert all(word in options for word in SUBMITTED[scheduler, gpus])
    assert ("gpu" in options) == (gpus != "0")
    replace_programs(tmp_path, monkeypatch, qsub="exit 255", bsub="exit 255")
    assert run([*submit, "job.sh"], ROOT).returncode == 255


@pytest.mark.parametrize(("answers", "status"), SGE_JOBS.items())
def test_sge_status(tmp_path, monkeypatch, answers, status):
    known, entry = answers
    qacct = f"echo '{entry}'" if entry else "exit 1"
    replace_programs(tmp_path, monkeypatch, qstat=f"exit {known}", qacct=qacct)
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
    replace_programs(tmp_path, monkeypatch, qstat=qstat)
    assert run(["sh", f"{PROFILE}/pbs-status", "7"], ROOT).stdout == f"{status}\n"


@pytest.mark.exhaustive
def test_jobs_of_a_killed_snakemake_are_waited_for(pbs, tmp_path):
    project = Project.new(tmp_path / "project")
    script = project.folder / "workflow_scripts/data/render_demo.py"
    script.write_text(script.read_text().replace(MAIN, MAIN + WAIT, 1))
    first = subprocess.Popen(command("render_demo"), cwd=project.folder)
    log = project.results / "logs/render_demo.log"
    wait_for(first, log, "workflow_scripts/data/render_demo.py")
    first.kill()
    first.wait()
    second = subprocess.Popen(command("render_demo"), cwd=project.folder)
    wait_for(second, log.with_name("render_demo.log.scheduler"), "which already does this")
    (project.folder / "results/go").touch()
    assert second.wait(120) == 0
    assert (pbs / "0.exit").read_text() == "0\n"
