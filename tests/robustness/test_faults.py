"""Killed stages, full disks, second runs: real processes on the reduced demo's results."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path

import filelock
import psutil
import pytest

from helpers.project import ROOT, Project, called, run
from i2crc.artifacts.stages import STAGES
from i2crc.runtime.log import this_process

SETTINGS = {
    "backbone": "efficientnet_lite0",
    "output_stride": 32,
    "weights": {"source": "random"},
    "head_convs": 0,
    "head_std": 0.01,
    "input_size": 64,
    "batch_size": 4,
    "epochs": 3,
}


class Stages:
    """Command lines of stages that read the finished demo and write into a folder of the test's."""

    def __init__(self, project: Project, folder: Path) -> None:
        self.project, self.folder = project, folder
        self.results = project.results

    def start(self, script: str, *arguments: str) -> subprocess.Popen:
        """A stage in a process group of its own, as all of a terminal's processes are."""
        log = ("--log", str(self.folder / "logs" / f"{script}.log"))
        path = str(ROOT / "workflow_scripts" / STAGES[script].script)
        return subprocess.Popen(
            [sys.executable, path, *arguments, *log],
            cwd=self.project.folder,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def per_image(self, script: str, **files: Path) -> subprocess.Popen:
        options = [word for name, path in files.items() for word in (f"--{name}", str(path))]
        return self.start(
            script,
            *options,
            *("--index", str(self.results / "data/train/1-of-1.json")),
            *("--folder", str(self.folder / script / "images")),
            *("--manifest", str(self.manifest(script))),
        )

    def manifest(self, script: str) -> Path:
        return self.folder / script / "1-of-1.json"

    def labels(self) -> subprocess.Popen:
        return self.per_image(
            "gen_gt",
            cams=self.results / "cams/1-of-1.json",
            saliency=self.results / "saliency/manifest.json",
        )

    def crf(self, iterations: int) -> subprocess.Popen:
        settings = json.dumps({"iterations": iterations})
        logits = self.results / "predictions/initial/train/logits/1-of-1.json"
        return self.per_image("crf", settings=settings, logits=logits)

    def training(self, **runtime) -> subprocess.Popen:
        return self.start(
            "train_classifier",
            *("--settings", json.dumps(SETTINGS)),
            *("--index", str(self.results / "data/train.json")),
            *("--saliency", str(self.results / "saliency/manifest.json")),
            *("--run-folder", str(self.folder / "run")),
            *("--weights", str(self.weights)),
            *("--history", str(self.folder / "history.csv")),
            *("--runtime", json.dumps({"log_seconds": 0.001, **runtime})),
        )

    @property
    def weights(self) -> Path:
        return self.folder / "weights.safetensors"


def end(process: subprocess.Popen) -> tuple[int, str]:
    """The status of a process and what it said."""
    said = process.communicate(timeout=300)[1]
    return process.returncode, said


def wait_for(process: subprocess.Popen, words: str) -> str:
    """The line with these words."""
    for line in process.stderr:
        if words in line:
            return line
    raise AssertionError(f"it ended without saying {words!r}")


def children(process: subprocess.Popen, name: str) -> list[psutil.Process]:
    """The worker processes of a stage, as soon as there are some."""
    while process.poll() is None:
        found = called(name, psutil.Process(process.pid).children())
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError("it ended without a worker")


@pytest.fixture
def stages(finished, tmp_path) -> Stages:
    return Stages(finished, tmp_path / "enough")


@pytest.fixture
def small_disk(finished, tmp_path) -> Iterator[Stages]:
    """A file system of 64 KiB, which `grow` makes larger."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root, and a kernel that lets it")
    yield Stages(finished, folder)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def grow(folder: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)


def fill(folder: Path, leave: int) -> None:
    """Leave that many bytes on a file system."""
    free = shutil.disk_usage(folder).free
    (folder / "filler").write_bytes(b"x" * (free - leave))


def test_a_full_disk_stops_a_shard_and_once_there_is_space_it_continues(small_disk, stages):
    assert end(stages.labels())[0] == 0
    fill(small_disk.folder, leave=20 * 1024)
    status, said = end(small_disk.labels())
    assert status == 1
    assert "Traceback" not in said
    assert f"no space is left (file system at {small_disk.folder}, " in said
    assert "start the same command again and it continues" in said
    assert not small_disk.manifest("gen_gt").exists()
    assert not list(small_disk.folder.rglob(".*.tmp*"))

    grow(small_disk.folder, "4m")
    status, said = end(small_disk.labels())
    assert status == 0, said
    assert re.search(r" [1-9]\d* of \d+ images were already made", said)
    for image in (stages.folder / "gen_gt/images").iterdir():
        same = small_disk.folder / "gen_gt/images" / image.name
        assert same.read_bytes() == image.read_bytes()


def test_a_log_on_a_full_disk_leaves_stderr(small_disk):
    fill(small_disk.folder, leave=0)
    status, said = end(small_disk.labels())
    assert status == 1
    assert "gen_gt.log: cannot be written" in said
    assert "no space is left" in said
    assert "Logging error" not in said


@pytest.mark.exhaustive
def test_a_full_disk_stops_a_training_at_a_checkpoint_and_at_its_weights(small_disk, stages):
    assert end(stages.training(workers=0))[0] == 0
    grow(small_disk.folder, "1m")
    status, said = end(small_disk.training(workers=0, checkpoint_seconds=0.001))
    assert status == 1
    assert re.search(rf"{small_disk.folder}/run/\w+/checkpoint.pt: no space is left", said)
    assert "Traceback" not in said
    status, said = end(small_disk.training(workers=0))
    assert status == 1
    assert re.search(rf"{small_disk.folder}/run/\w+/weights.safetensors: no space is left", said)
    assert not list(small_disk.folder.rglob(".*.tmp*"))
    assert not small_disk.weights.exists()

    grow(small_disk.folder, "200m")
    status, said = end(small_disk.training(workers=0))
    assert status == 0, said
    assert small_disk.weights.read_bytes() == stages.weights.read_bytes()


def test_a_killed_crf_worker_is_named_and_the_shard_continues(stages):
    process = stages.crf(iterations=200_000)
    children(process, "spawn_main")[-1].kill()
    status, said = end(process)
    assert status == 1
    assert "a worker process was killed, most likely by the kernel" in said
    assert "runtime.inference_threads" in said
    assert "Traceback" not in said
    assert end(stages.crf(iterations=1))[0] == 0


def test_a_crashed_crf_worker_is_named_with_its_signal_and_images(stages):
    process = stages.crf(iterations=200_000)
    worker = children(process, "spawn_main")[-1]
    while worker.cpu_times().user < 1:  # it loads its modules
        time.sleep(0.05)
    worker.send_signal(signal.SIGSEGV)
    status, said = end(process)
    assert status == 1
    assert "crashed in compiled code (SIGSEGV at one of demo_train_" in said
    assert "memory ran out" not in said and "Traceback" not in said


@pytest.mark.exhaustive
def test_a_small_shared_memory_is_named_with_its_remedies(stages):
    """As in a container, which has 64 MiB of it."""
    enough = stages.training(workers=2)
    enough.kill()
    enough.communicate()
    mounted = 'mount -t tmpfs -o size=64k tmpfs /dev/shm && exec "$@"'
    command = ["unshare", "--mount", "bash", "-c", mounted, "bash"]
    if shutil.which("unshare") is None or run([*command, "true"], stages.folder.parent).returncode:
        pytest.skip("a small /dev/shm needs `unshare --mount`, root, and a kernel that lets it")
    done = run([*command, *enough.args], stages.project.folder, 120)
    assert done.returncode == 1
    assert "/dev/shm: this shared memory (0 MiB, 0 MiB free) is too small" in done.stderr
    assert "--shm-size=8g or --ipc=host, or set runtime.workers to 0" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_killed_data_loader_is_named(stages):
    process = stages.training(workers=1)
    wait_for(process, "iteration 1/")
    children(process, "train_classifier")[0].kill()
    status, said = end(process)
    assert status == 1
    assert "a worker process was killed, most likely by the kernel" in said
    assert "runtime.workers" in said
    assert "Traceback" not in said


@pytest.mark.exhaustive
def test_workers_end_with_the_stage_that_started_them(stages):
    for process in (stages.crf(iterations=200_000), stages.training(workers=1)):
        if "crf.py" in process.args[1]:
            workers = children(process, "spawn_main")
        else:
            wait_for(process, "iteration 1/")
            workers = children(process, "train_classifier")
        process.kill()
        process.communicate()
        assert not psutil.wait_procs(workers, timeout=60)[1]


@pytest.mark.parametrize(
    "how", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.exhaustive)]
)
def test_a_signal_stops_a_shard_which_continues_where_it_was(stages, how):
    process = stages.crf(iterations=500)
    journal = stages.manifest("crf").with_suffix(".journal")
    while not journal.exists() or not journal.read_text().strip():
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, how)
    status, said = end(process)
    assert status == 128 + how, said
    assert f"stopped by {how.name}; start again and it continues" in said
    assert "Traceback" not in said
    assert not stages.manifest("crf").exists()
    status, said = end(stages.crf(iterations=500))
    assert status == 0
    assert re.search(r" [1-9]\d* of \d+ images were already made", said)


def test_a_second_process_for_the_same_work_waits_for_the_first(stages):
    (stages.folder / "logs").mkdir(parents=True)
    with filelock.FileLock(stages.folder / "logs/.gen_gt.log.lock"):
        process = stages.labels()
        wait_for(process, "waiting for")
        assert not stages.manifest("gen_gt").exists()
    status, said = end(process)
    assert status == 0, said
    assert stages.manifest("gen_gt").exists()


def test_a_second_run_on_the_same_results_is_refused(copied):
    settings = {"evaluation": {"sheet_images": 1}}
    with filelock.FileLock(copied.results / ".lock"):
        (copied.results / ".lock").write_text(this_process())
        before = sorted(copied.results.rglob("*"))
        refused = copied.snakemake(settings=settings)
        assert refused.returncode == 1
        said = refused.stdout + refused.stderr
        assert f"process {os.getpid()} on " in said
        assert "is already at work on these results" in said
        assert "Traceback" not in said
        assert copied.snakemake("--dry-run", settings=settings).returncode == 0
        other = copied.snakemake("render_demo", settings={"experiment": "other"})
        assert other.returncode == 0, other.stdout + other.stderr
        shutil.rmtree(copied.folder / "results/other")
        assert sorted(copied.results.rglob("*")) == before


@pytest.mark.exhaustive
def test_a_run_killed_at_a_figure_continues_to_the_end(copied):
    """What Snakemake forces for a kill must not hide what else is missing."""
    figure = "results/demo/report/training_initial.html"
    marker = urlsafe_b64encode(figure.encode()).decode()
    (copied.folder / ".snakemake/incomplete" / marker).write_text("{}")
    (copied.results / "scores/table.md").unlink()
    (copied.results / "crf/final/val/1-of-1.json").unlink()
    done = copied.snakemake()
    assert done.returncode == 0, done.stdout + done.stderr
    assert (copied.results / "scores/table.md").exists()
    assert (copied.results / "crf/final/val/1-of-1.json").exists()


@pytest.mark.parametrize(
    "content",
    [
        '{"images": 5, "problems": 3}',
        *(pytest.param(text, marks=pytest.mark.exhaustive) for text in ("", "[]")),
    ],
)
def test_a_damaged_manifest_and_index_are_named_and_made_again(copied, content):
    index = copied.results / "data/train.json"
    manifest = copied.results / "labels/initial/1-of-1.json"
    before = [json.loads(path.read_text()).get("files") for path in (index, manifest)]
    for path in (index, manifest):
        path.write_text(content)
    plan = copied.snakemake("--dry-run")
    said = plan.stdout + plan.stderr
    assert plan.returncode == 0, said
    assert "Traceback" not in said
    assert "data/train.json: " in said and "labels/initial/1-of-1.json: " in said
    assert "prepare_data" in said
    done = copied.snakemake("pseudo_labels")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [json.loads(p.read_text()).get("files") for p in (index, manifest)] == before


def test_sigterm_stops_a_run_whatever_its_scheduler_does(tmp_path):
    project = Project.new(tmp_path / "project")
    command = project.command("render_demo")
    driver = str(ROOT / "tests/helpers/sigterm.py")
    done = run([sys.executable, driver, *command[command.index("--cores") :]], project.folder, 120)
    assert done.returncode == 1, done.stderr
    assert "is not finished. Nothing finished is lost" in done.stderr
