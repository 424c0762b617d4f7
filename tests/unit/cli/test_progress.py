"""`i2crc progress` on folders as runs leave them: at work, killed, stopped, damaged."""

import os
import platform
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from i2crc.artifacts.stages import PIPELINE
from i2crc.cli import progress
from i2crc.runtime.errors import InputError
from i2crc.runtime.progress import Status, status_path

PATIENCE = 300.0
STOP = "stopped by SIGTERM; start again and it continues"
NO_PROCESS = 2**22 + 1  # above the highest number that Linux gives
ELSEWHERE = {"host": "another-machine", "pid": NO_PROCESS}


class Results:
    """A results folder with the status files of jobs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def job(self, name: str, state: str, age: float = 0.0, **facts) -> Path:
        """Write the status of a job as it was `age` seconds ago; return its log."""
        log = self.folder / f"logs/{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        status = Status(state=state, written=time.time() - age, **facts)
        status_path(log).write_text(status.model_dump_json())
        return log

    def lines(self) -> list[str]:
        return progress.report(self.folder, PATIENCE).splitlines()

    def stages(self) -> list[str]:
        return [line.split()[0] for line in self.lines()[1:] if ": " not in line]

    def row(self, stage: str) -> list[str]:
        """Done, running, failed, stopped, waiting, progress, images/s, ETA."""
        (row,) = (line for line in self.lines() if line.startswith(f"{stage} "))
        return re.split(r"  +", row)[1:]

    def notes(self) -> list[str]:
        return [line for line in self.lines() if ": " in line]


@pytest.fixture
def results(tmp_path):
    return Results(tmp_path / "demo")


def test_what_comes_after_the_stages_that_have_begun_is_waiting(results):
    results.job("prepare_data/train", "done")
    results.job("prepare_data/val", "done")
    assert results.stages() == ["prepare_data", *PIPELINE]
    assert results.row("prepare_data") == ["2", "0", "0", "0", "0", "-", "-", "-"]
    assert results.row("train_classifier") == ["0", "0", "0", "0", "all", "-", "-", "-"]
    results.job("train_segmentation/final", "done")
    assert results.stages() == ["prepare_data", *PIPELINE[7:]]
    for other in ("predict/final/test/1-of-2", "score/val_crf", "what_comes_one_day"):
        results.job(other, "done")
    others = ["predict", "score", "what_comes_one_day"]
    assert results.stages() == ["prepare_data", *PIPELINE[7:], *others]
    assert results.notes() == []


@pytest.mark.parametrize(
    ("settings", "waiting"),
    [
        ("dataset: {root: photos, val_list: ''}", PIPELINE[:8]),
        ("segmentation: {supervision: full}", PIPELINE[7:]),
        ("damaged: [", PIPELINE),
    ],
)
def test_a_stage_that_the_settings_do_not_ask_for_does_not_wait(results, settings, waiting):
    results.job("check_leaks", "done")
    (results.folder / "config.yaml").write_text(settings)
    assert results.stages() == ["check_leaks", *waiting]


def test_a_finished_stage(results):
    for shard in ("1-of-2", "2-of-2"):
        results.job(f"infer_cam/{shard}", "done", age=9999, done=40, total=40)
    assert results.row("infer_cam") == ["2", "0", "0", "0", "0", "80 of 80 images", "-", "-"]


def test_running_shards_and_those_that_wait(results):
    facts = {"total": 40, "images_per_second": 0.5}
    results.job("crf/final/val/1-of-4", "running", done=20, seconds_left=40, **facts)
    results.job("crf/final/val/2-of-4", "running", done=10, seconds_left=60, **facts)
    # 50 images of these two shards are left, and 80 of the others.
    row = ["0", "2", "0", "0", "2", "30 of 80 images", "1", "0:02:10"]
    assert results.row("crf/final/val") == row
    results.job("crf/final/val/3-of-4", "running")
    results.job("crf/final/val/4-of-4", "done", done=40, **facts)
    row = ["1", "3", "0", "0", "0", "70 of 120 images", "1", "0:01:00"]
    assert results.row("crf/final/val") == row


def test_a_training_shows_its_iterations_and_what_is_left(results):
    facts = {"unit": "iteration", "done": 50, "total": 200, "images_per_second": 8.5}
    results.job("train_segmentation/initial", "running", seconds_left=3600, **facts)
    row = ["0", "1", "0", "0", "0", "50 of 200 iterations", "8.5", "1:00:00"]
    assert results.row("train_segmentation/initial") == row
    results.job("train_segmentation/initial", "stopped", seconds_left=3600, **facts)
    row = ["0", "0", "0", "1", "0", "50 of 200 iterations", "-", "-"]
    assert results.row("train_segmentation/initial") == row


def test_failed_and_stopped_jobs_are_named_with_log_and_reason(results):
    failed = results.job("infer_cam/1-of-2", "failed", message="no class \x1b[2J3\nin a long story")
    stopped = results.job("infer_cam/2-of-2", "stopped", message=STOP)
    long = results.job("check_leaks", "failed", message="b" * 300)
    assert results.row("infer_cam")[:5] == ["0", "0", "1", "1", "0"]
    assert results.notes() == [
        f"failed: {long}: {'b' * progress.MESSAGE_LENGTH}",
        f"failed: {failed}: no class ?[2J3",
        f"stopped: {stopped}: {STOP}",
    ]


def test_a_killed_job_is_seen_at_once(results):
    with subprocess.Popen(["sleep", "600"]) as process:
        facts = {"pid": process.pid, "done": 20, "total": 40, "images_per_second": 0.5}
        log = results.job("gen_gt/1-of-2", "running", message="a.png", **facts)
        assert results.row("gen_gt")[:2] == ["0", "1"]
        # A process that began after the last sign of life only has the number of the job's.
        results.job("gen_gt/1-of-2", "running", age=9999, **facts)
        assert results.row("gen_gt")[:4] == ["0", "0", "0", "1"]
        results.job("gen_gt/1-of-2", "running", message="a.png", **facts)
        process.kill()
    assert results.row("gen_gt") == ["0", "0", "0", "1", "1", "20 of 40 images", "-", "-"]
    (note,) = results.notes()
    since = r"no sign of life since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
    assert re.fullmatch(f"{since}: {re.escape(str(log))}: a.png", note)


def test_on_another_machine_what_was_written_lately_is_a_sign_of_life(results):
    results.job("gen_gt/1-of-1", "running", age=PATIENCE - 60, **ELSEWHERE)
    assert results.row("gen_gt")[:4] == ["0", "1", "0", "0"]
    results.job("gen_gt/1-of-1", "running", age=PATIENCE + 60, **ELSEWHERE)
    assert results.row("gen_gt")[:4] == ["0", "0", "0", "1"]
    assert results.notes()[0].startswith("no sign of life since ")
    # Another user's process cannot be asked, but is there.
    results.job("gen_gt/1-of-1", "running", pid=1)
    assert results.row("gen_gt")[:4] == ["0", "1", "0", "0"]


def test_of_another_number_of_shards_the_newest_counts(results):
    results.job("infer_cam/1-of-1", "failed", age=99)
    results.job("infer_cam/2-of-3", "done", done=4, total=4)
    results.job("infer_cam/3-of-3", "done", done=4, total=4)
    assert results.row("infer_cam")[:6] == ["2", "0", "0", "0", "1", "8 of 8 images"]
    assert results.notes() == []


def test_what_is_damaged_is_left_out(results):
    results.job("infer_cam/2-of-2", "done")
    damaged = status_path(results.job("infer_cam/1-of-2", "done"))
    for content in (b"", b"\xff", b'{"state": ', b'{"pid": -1, "host": "", "written": "x"}'):
        damaged.write_bytes(content)
        assert results.row("infer_cam")[:5] == ["1", "0", "0", "0", "1"]


@pytest.mark.parametrize("make", [lambda path: None, Path.mkdir, Path.touch])
def test_a_folder_of_no_run_is_refused_with_a_remedy(tmp_path, make):
    make(tmp_path / "dmo")
    with pytest.raises(InputError, match=r"dmo: no run wrote anything .* as results/demo"):
        progress.report(tmp_path / "dmo", PATIENCE)


def test_nothing_is_written_and_torch_is_not_loaded(results):
    results.job("infer_cam/1-of-2", "running", pid=os.getpid(), host=platform.node())
    results.job("infer_cam/2-of-2", "failed", message="a.png: wrong")

    def snapshot():
        return {path: path.stat().st_mtime_ns for path in results.folder.rglob("*")}

    before = snapshot()
    code = "import sys; from i2crc.cli.main import run; run(sys.argv[1:]); print(*sys.modules)"
    command = [sys.executable, "-c", code, "progress", str(results.folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert snapshot() == before
    *lines, modules = done.stdout.splitlines()
    assert not {"torch", "numpy", "snakemake"} & set(modules.split())
    assert len({len(line) for line in lines[:-1]}) == 1
    assert lines[-1].startswith("failed: ") and lines[-1].endswith("a.png: wrong")


def test_watching_shows_it_again_until_it_is_stopped(results):
    results.job("check_leaks", "done")
    command = [Path(sys.executable).with_name("i2crc"), "progress", results.folder]
    process = subprocess.Popen(
        [*command, "--watch", "0.1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    heads = [line for _, line in zip(range(40), process.stdout, strict=False) if "demo " in line]
    assert len(heads) > 1
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert said == ""
