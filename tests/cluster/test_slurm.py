"""The profile for SLURM, on a real SLURM of this machine."""

import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from safetensors.torch import load_file

from helpers import slurm
from helpers.project import Project, called, config_options, environment, merge, run
from helpers.slurm import jobs
from i2crc.runtime.atomic import digest_file

# SLURM is asked more often than a shared cluster should be, and runs few jobs at a time.
QUICK = [
    *("--slurm-init-seconds-before-status-checks", "6", "--seconds-between-status-checks", "2"),
    *("--jobs", "2"),
]
# The threads of the local run that it is compared with.
LOCAL_THREADS = {"runtime": {"training_threads": 2, "inference_threads": 2}}

STARTED: list[subprocess.Popen] = []


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    obstacle = slurm.obstacle()
    if obstacle:
        pytest.skip(obstacle)
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
    """Start Snakemake. It ends with the cluster if a test fails before."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**environment(folder), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    STARTED.append(process)
    return process


def digests(project: Project) -> dict[str, str]:
    """Return the digests of all images and weights."""
    files = [p for end in ("png", "safetensors") for p in project.results.rglob(f"*.{end}")]
    names = {p: str(p.relative_to(project.results)) for p in files if ".kept" not in p.parts}
    return {name: digest_file(path) for path, name in names.items()}


@pytest.mark.exhaustive
def test_the_log_of_a_failing_job_is_shown(cluster, tmp_path):
    project = Project.new(tmp_path / "project")
    (project.results / "dataset").mkdir(parents=True)
    (project.results / "dataset/JPEGImages").write_text("in the way")
    done = run(command("render_demo", "--retries", "0"), project.folder)
    output = done.stdout + done.stderr
    assert done.returncode == 1, output
    log = (project.results / "logs/render_demo.log").read_text().splitlines()
    assert log[-2] in output and "JPEGImages" in log[-2]
    assert "Nothing finished is lost" in output


def test_shards_are_an_array_job_and_a_failed_one_is_submitted_again_alone(cluster, copied):
    expected = digests(copied)
    two = {"shards": 2}
    copied.run("cams", settings=two)
    shutil.rmtree(copied.results / "cams")
    process = start(command("cams", settings=two), copied.folder)
    cluster.wait(lambda: jobs("infer_cam", "running"))
    number, _, _ = next(iter(jobs("infer_cam", "running"))).partition("_")
    slurm.tell("scancel", f"{number}_1")
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    assert output.count("Trying to restart job") == 1
    assert len({job.partition("_")[0] for job in jobs("infer_cam")}) == 2, output
    assert digests(copied) == expected


@pytest.mark.exhaustive
def test_shards_may_be_more_than_the_jobs_at_a_time(cluster, copied):
    shutil.rmtree(copied.results / "cams")
    done = run(command("cams", "--jobs", "1", settings={"shards": 2}), copied.folder, 300)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.exhaustive
def test_a_start_while_slurm_is_away_is_refused_at_once(cluster, tmp_path):
    project = Project.new(tmp_path / "project")
    cluster.stop_controller()
    done = run(command("render_demo"), project.folder, 120)
    cluster.start_controller()
    output = done.stdout + done.stderr
    assert done.returncode == 1, output
    assert "SLURM does not answer" in output and "start the same command again" in output
    assert "Traceback" not in output


@pytest.mark.exhaustive
def test_slurm_may_be_away_for_a_while(cluster, copied):
    shutil.rmtree(copied.results / "cams")
    once = ("--jobs", "1", "--retries", "0", "--slurm-status-attempts", "1")
    process = start(command("cams", *once), copied.folder)
    cluster.wait(lambda: jobs("infer_cam", "running"))
    cluster.stop_controller()
    wait_for("It is asked again", process)
    cluster.start_controller()
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output


def wait_for(text: str, process: subprocess.Popen) -> None:
    """Wait until a process prints a text; raise AssertionError if it ends before."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return
    raise AssertionError("".join(lines))


@pytest.mark.exhaustive
def test_the_run_on_a_cluster_is_the_run_on_a_workstation(cluster, finished, tmp_path):
    project = Project.new(tmp_path / "project")
    done = run(command(settings=LOCAL_THREADS), project.folder, seconds=3000)
    assert done.returncode == 0, done.stdout + done.stderr
    assert digests(project) == digests(finished)


CLASSIFIER = "results/demo/classifier/weights.safetensors"
LONG = {
    "deterministic": True,
    "classifier": {"epochs": 50, "optimizer": {"learning_rate": 1e-4}},
    "runtime": {"training_threads": 1, "checkpoint_seconds": 5},
}
SLOW = "TEST_SECONDS_PER_ITERATION"


class SlowTraining:
    """A project whose classifier can be made to wait before each of its 150 iterations.

    The training has also run here without waiting, to compare its weights.
    """

    def __init__(self, finished: Project, folder) -> None:
        self.project = finished.copy(folder)
        loop = self.project.folder / "workflow_scripts/i2crc/training/loop.py"
        head = "        settings = self.settings\n        per_epoch ="
        slow = f"        time.sleep(float(__import__('os').environ.get('{SLOW}', 0)))\n"
        text = loop.read_text()
        assert text.count(head) == 1
        loop.write_text(text.replace(head, slow + head))
        self.weights = self.project.folder / CLASSIFIER

        self.undisturbed = folder / "undisturbed.safetensors"
        done = self.project.snakemake(CLASSIFIER, settings=LONG)
        assert done.returncode == 0, done.stdout + done.stderr
        self.weights.rename(self.undisturbed)
        self.run = max(self.weights.with_name("run").iterdir(), key=lambda p: p.stat().st_mtime)
        (self.run / "weights.safetensors").unlink()
        self.before = set(self.run.glob("attempt-*.log"))

    def start(self, *arguments: str, seconds: str = "1", **runtime) -> subprocess.Popen:
        """Start it on the cluster; it waits `seconds` before each iteration."""
        settings = merge(LONG, {"runtime": runtime})
        line = command(CLASSIFIER, *arguments, settings=settings)
        return start(line, self.project.folder, **{SLOW: seconds})

    def log(self) -> str:
        """Return the logs of the attempts on the cluster."""
        later = [p.read_text() for p in self.run.glob("attempt-*.log") if p not in self.before]
        return "".join(later)


@pytest.mark.exhaustive
def test_a_training_that_meets_its_limit_three_times_ends_with_the_same_weights(
    cluster, finished, tmp_path
):
    training = SlowTraining(finished, tmp_path / "project")
    # SLURM may signal up to a minute early.
    limits = "train_classifier:runtime=3 if attempt < 4 else 20"
    signals = "train_classifier:slurm_extra='--signal=TERM@60'"
    process = training.start("--set-resources", limits, signals, seconds="2")
    output, _ = process.communicate(timeout=1800)
    assert process.returncode == 0, output
    assert training.weights.read_bytes() == training.undisturbed.read_bytes()
    log = training.log()
    assert log.count("checkpoint at iteration") == 3
    assert log.count("resumed at iteration") == 3


@pytest.mark.exhaustive
def test_a_training_continues_whatever_ends_its_job(cluster, finished, tmp_path):
    training = SlowTraining(finished, tmp_path / "project")
    process = training.start()

    checkpoint = training.run / "checkpoint.pt"
    ends = (cluster.cancel, cluster.requeue, cluster.displace, cluster.lose_its_node)
    for number, end_it in enumerate(ends):
        cluster.wait(lambda n=number: training.log().count("resumed at iteration") == n)
        begin = checkpoint.stat().st_mtime if checkpoint.exists() else 0
        cluster.wait(lambda b=begin: checkpoint.exists() and checkpoint.stat().st_mtime > b)
        end_it(next(iter(jobs("train_classifier", "running"))))
    output, _ = process.communicate(timeout=1800)
    assert process.returncode == 0, output
    assert training.weights.read_bytes() == training.undisturbed.read_bytes()
    assert training.log().count("resumed at iteration") == 4


@pytest.mark.exhaustive
def test_a_training_on_two_nodes_is_that_on_one(cluster, finished, tmp_path):
    """Also if a process of the second node dies: all continue from the last checkpoint."""
    training = SlowTraining(finished, tmp_path / "project")
    process = training.start(nodes=2, gpus=2)
    cluster.wait((training.run / "checkpoint.pt").exists)
    job = next(iter(jobs("train_classifier", "running")))
    assert slurm.tell("squeue", "-h", "-j", job, "-o", "%D").strip() == "2"
    ranks = called("train_classifier.py", psutil.process_iter())
    [second] = [rank for rank in ranks if rank.environ().get("RANK") == "1"]
    second.kill()
    output, _ = process.communicate(timeout=1200)
    assert process.returncode == 0, output
    log = (training.project.results / "logs/train_classifier.log").read_text()
    assert "CPU, 2 processes" in log
    assert training.log().count("resumed at iteration") == 1
    expected, found = load_file(training.undisturbed), load_file(training.weights)
    for name, value in expected.items():
        assert (value - found[name]).abs().max() <= 1e-4 * max(1, value.abs().max()), name
