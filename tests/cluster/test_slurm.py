"""The profile for SLURM, on a real one: stopped in every way, and equal to a local run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from safetensors.torch import load_file

from i2crc.runtime.atomic import digest_file
from helpers import slurm
from helpers.project import Project, called, config_options, merge, run
from helpers.slurm import jobs

# Asked more often than where others wait; no more jobs at a time than this machine bears.
QUICK = [
    *("--slurm-init-seconds-before-status-checks", "1", "--seconds-between-status-checks", "2"),
    *("--jobs", "2"),
]
# The same threads as in the local run that it is compared with.
LOCAL_THREADS = {"runtime": {"training_threads": 2, "inference_threads": 2}}

STARTED: list[subprocess.Popen] = []


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    why_not = slurm.obstacle()
    if why_not:
        pytest.skip(why_not)
    cluster = slurm.Cluster(tmp_path_factory.mktemp("slurm"))
    cluster.start()
    yield cluster
    for process in STARTED:
        process.kill()
    cluster.stop()


def command(*arguments: str, settings: dict | None = None) -> list[str]:
    profile = ["--workflow-profile", "profiles/slurm", *QUICK]
    return [sys.executable, "-m", "snakemake", *profile, *arguments, *config_options(settings)]


def start(command: list[str], folder: Path, **variables: str) -> subprocess.Popen:
    """Start Snakemake; what a failed test leaves ends with the cluster."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    STARTED.append(process)
    return process


def artifacts(project: Project) -> dict[str, str]:
    """The digest of every image and of all weights."""
    files = [p for end in ("png", "safetensors") for p in project.results.rglob(f"*.{end}")]
    return {str(p.relative_to(project.results)): digest_file(p) for p in files}


def test_a_failing_job_tells_why(cluster, tmp_path):
    project = Project.new(tmp_path / "project")
    (project.results / "dataset").mkdir(parents=True)
    (project.results / "dataset/JPEGImages").write_text("in the way")
    done = run(command("render_demo", "--retries", "0"), project.folder)
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    log = (project.results / "logs/render_demo.log").read_text().splitlines()
    assert log[-2] in said and "JPEGImages" in log[-2]
    assert "Nothing finished is lost" in said


def test_shards_are_an_array_job_and_one_that_failed_is_sent_again_alone(cluster, copied):
    expected = artifacts(copied)
    shutil.rmtree(copied.results / "cams")
    process = start(command("cams"), copied.folder)
    cluster.wait(lambda: jobs("infer_cam", "running"))
    number, _, _ = next(iter(jobs("infer_cam", "running"))).partition("_")
    slurm.tell("scancel", f"{number}_1")
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 0, said
    assert said.count("Trying to restart job") == 1
    assert len({job.partition("_")[0] for job in jobs("infer_cam")}) == 2, said
    assert artifacts(copied) == expected


def test_shards_may_be_more_than_the_jobs_at_a_time(cluster, copied):
    shutil.rmtree(copied.results / "cams")
    done = run(command("cams", "--jobs", "1"), copied.folder, 300)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_start_without_an_answer_of_slurm_is_refused_at_once(cluster, copied):
    shutil.rmtree(copied.results / "cams")
    cluster.stop_controller()
    done = run(command("cams"), copied.folder, 120)
    cluster.start_controller()
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "SLURM does not answer" in said and "start the same command again" in said
    assert "Traceback" not in said


@pytest.mark.exhaustive
def test_slurm_may_be_away_for_a_while(cluster, copied):
    shutil.rmtree(copied.results / "cams")
    process = start(command("cams", "--jobs", "1", "--retries", "0"), copied.folder)
    wait_for("The nodes of SLURM have", process)
    cluster.stop_controller()
    wait_for("Jobs are sent, or begin, as soon as it does", process)
    cluster.start_controller()
    cluster.wait(lambda: jobs("infer_cam", "running"))
    cluster.stop_controller()
    wait_for("It is asked again", process)
    cluster.start_controller()
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 0, said


def wait_for(text: str, process: subprocess.Popen) -> None:
    said = []
    for line in process.stdout:
        said.append(line)
        if text in line:
            return
    raise AssertionError("".join(said))


@pytest.mark.exhaustive
def test_the_run_on_a_cluster_is_the_run_on_a_workstation(cluster, finished, tmp_path):
    project = Project.new(tmp_path / "project")
    done = run(command(settings=LOCAL_THREADS), project.folder, seconds=3000)
    assert done.returncode == 0, done.stdout + done.stderr
    assert artifacts(project) == artifacts(finished)


CLASSIFIER = "results/demo/classifier/weights.safetensors"
LONG = {
    "deterministic": True,
    "classifier": {"epochs": 50, "optimizer": {"learning_rate": 1e-4}},
    "runtime": {"training_threads": 1, "checkpoint_seconds": 5},
}
SLOW = "TEST_SECONDS_PER_ITERATION"


class SlowTraining:
    """A project whose classifier takes its time for each of its 150 iterations, if told so.

    It has been trained without that, here, and its weights were put aside.
    """

    def __init__(self, finished: Project, folder) -> None:
        self.project = finished.copy(folder)
        engine = self.project.folder / "workflow_scripts/i2crc/engine.py"
        head = "        settings = self.settings\n        per_epoch ="
        slow = f"        time.sleep(float(__import__('os').environ.get('{SLOW}', 0)))\n"
        text = engine.read_text()
        assert text.count(head) == 1
        engine.write_text(text.replace(head, slow + head))
        self.weights = self.project.folder / CLASSIFIER

        self.undisturbed = folder / "undisturbed.safetensors"
        done = self.project.snakemake(CLASSIFIER, settings=LONG)
        assert done.returncode == 0, done.stdout + done.stderr
        self.weights.rename(self.undisturbed)
        (self.weights.parent / "run/weights.safetensors").unlink()
        self.before = set(self.weights.with_name("run").glob("attempt-*.log"))

    def start(self, *arguments: str, seconds: str = "1", **runtime) -> subprocess.Popen:
        """Start it on the cluster, with so many seconds an iteration."""
        settings = merge(LONG, {"runtime": runtime})
        line = command(CLASSIFIER, *arguments, settings=settings)
        return start(line, self.project.folder, **{SLOW: seconds})

    def log(self) -> str:
        """What its attempts have written, the undisturbed one left out."""
        logs = (self.project.results / "classifier/run").glob("attempt-*.log")
        later = [p.read_text() for p in logs if p not in self.before]
        return "".join(later)


@pytest.mark.exhaustive
def test_a_training_that_meets_its_limit_three_times_ends_with_the_same_weights(
    cluster, finished, tmp_path
):
    training = SlowTraining(finished, tmp_path / "project")
    # SLURM may signal a minute earlier than it was told.
    limits = "train_classifier:runtime=3 if attempt < 4 else 20"
    told = "train_classifier:slurm_extra='--signal=TERM@60'"
    process = training.start("--set-resources", limits, told, seconds="2")
    said, _ = process.communicate(timeout=1800)
    assert process.returncode == 0, said
    assert training.weights.read_bytes() == training.undisturbed.read_bytes()
    log = training.log()
    assert log.count("checkpoint at iteration") == 3
    assert log.count("resumed at iteration") == 3


@pytest.mark.exhaustive
def test_a_training_goes_on_whatever_ends_its_job(cluster, finished, tmp_path):
    training = SlowTraining(finished, tmp_path / "project")
    process = training.start()

    checkpoint = training.weights.parent / "run/checkpoint.pt"
    ends = (cluster.cancel, cluster.requeue, cluster.displace, cluster.lose_its_node)
    for number, end_it in enumerate(ends):
        cluster.wait(lambda n=number: training.log().count("resumed at iteration") == n)
        begin = checkpoint.stat().st_mtime if checkpoint.exists() else 0
        cluster.wait(lambda b=begin: checkpoint.exists() and checkpoint.stat().st_mtime > b)
        end_it(next(iter(jobs("train_classifier", "running"))))
    said, _ = process.communicate(timeout=1800)
    assert process.returncode == 0, said
    assert training.weights.read_bytes() == training.undisturbed.read_bytes()
    assert training.log().count("resumed at iteration") == 4


@pytest.mark.exhaustive
def test_a_training_on_two_nodes_is_that_on_one(cluster, finished, tmp_path):
    """Also when a process of the second node dies: all of them go on at the last checkpoint."""
    training = SlowTraining(finished, tmp_path / "project")
    process = training.start(nodes=2, gpus=2)
    cluster.wait((training.weights.parent / "run/checkpoint.pt").exists)
    job = next(iter(jobs("train_classifier", "running")))
    assert slurm.tell("squeue", "-h", "-j", job, "-o", "%D").strip() == "2"
    ranks = called("train_classifier.py", psutil.process_iter())
    [second] = [rank for rank in ranks if rank.environ().get("RANK") == "1"]
    second.kill()
    said, _ = process.communicate(timeout=1200)
    assert process.returncode == 0, said
    log = (training.project.results / "logs/train_classifier.log").read_text()
    assert "CPU, 2 processes" in log
    assert training.log().count("resumed at iteration") == 1
    expected, found = load_file(training.undisturbed), load_file(training.weights)
    for name, value in expected.items():
        assert (value - found[name]).abs().max() <= 1e-4 * max(1, value.abs().max()), name
