"""`i2crc progress` on folders as runs leave them: at work, killed, resumed, damaged."""

import json
import os
import platform
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from i2crc.artifacts.stages import PIPELINE
from i2crc.cli import progress, run_state
from i2crc.cli.run_state import SHARDED, TRAININGS, JobState, StageState, read_stages
from i2crc.runtime.errors import InputError
from i2crc.runtime.log import lock_of
from i2crc.runtime.progress import ALREADY, Pace

PROJECT = Path(__file__).parents[3]
PATIENCE = 300.0
STOP = "stopped by SIGTERM; start again and it continues"
HERE, ELSEWHERE = platform.node(), "another-machine"
HOLD = """
import sys, time
from pathlib import Path
from i2crc.runtime.log import log, start_log
start_log(Path(sys.argv[1]))
log.info("10 of 40 images were already made")
print("held", flush=True)
time.sleep(600)
"""


class Results:
    """A results folder: two shards of 40 training images each, two of 6 to validate."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for split, images in (("train", 40), ("val", 6)):
            for shard in ("1-of-2", "2-of-2"):
                ids = [{"id": f"{shard}_{n}"} for n in range(images)]
                self.write(f"data/{split}/{shard}.json", json.dumps({"images": ids}))
        self.age("data/train/1-of-2.json", 3600)

    def write(self, name: str, text: str = "{}") -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def age(self, name: str, seconds: float) -> None:
        then = time.time() - seconds
        os.utime(self.folder / name, (then, then))

    def log(self, name: str, *lines: str, age: float = 0.0, machine: str = HERE) -> Path:
        """The log of a job that does not run (any more), last written `age` seconds ago."""
        text = "".join(f"10:00:00 {line}\n" for line in ("python x.py", *lines))
        path = self.write(f"logs/{name}.log", text)
        self.age(f"logs/{name}.log", age)
        lock_of(path).write_text(f"process 1 on {machine} (since 2026-01-01 09:00:00+00:00)")
        return path

    def journal(self, name: str, count: int, age: float = 0.0) -> None:
        shard = name.split("/")[-1]
        lines = [json.dumps({"id": f"{shard}_{n}", "key": "k", "files": {}}) for n in range(count)]
        self.write(f"{name}.journal", "\n".join([*lines, lines[0], '{"id": "torn']))
        self.age(f"{name}.journal", age)

    def stages(self) -> dict[str, StageState]:
        return {stage.name: stage for stage in read_stages(self.folder, PATIENCE)}

    def row(self, stage: str) -> list[str]:
        """Done, running, failed, stopped, waiting, progress, images/s, ETA."""
        return list(progress.cells(self.stages()[stage])[1:])

    def notes(self) -> list[str]:
        return progress.notes(list(self.stages().values()))


@pytest.fixture
def results(tmp_path):
    return Results(tmp_path / "demo")


@pytest.fixture
def hold(results):
    """Starts jobs that hold the lock of their log until the end of the test, or are killed."""
    jobs = []

    def start(name: str) -> subprocess.Popen:
        command = [sys.executable, "-c", HOLD, str(results.folder / f"logs/{name}.log")]
        environment = {"PYTHONPATH": ":".join(sys.path)}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        jobs.append(subprocess.Popen(command, text=True, env=environment, **pipes))
        assert jobs[-1].stdout.readline() == "held\n"
        return jobs[-1]

    yield start
    for job in jobs:
        job.kill()
        job.communicate()


def images(done: int, rate: float, total: int = 40) -> str:
    return Pace("image", done, total, rate, int((total - done) / rate)).line()


def test_before_anything_has_begun_all_is_waiting(results):
    assert list(results.stages()) == list(PIPELINE)
    assert results.row("train_classifier") == ["0", "0", "0", "0", "1", "-", "-", "-"]
    assert results.row("crf/final/val") == ["0", "0", "0", "0", "2", "0 of 12 images", "-", "-"]
    assert results.notes() == []


def test_a_finished_stage(results):
    for shard in ("1-of-2", "2-of-2"):
        results.log(f"infer_cam/{shard}", ALREADY.format(0, 40), "done", age=9999)
        results.write(f"cams/{shard}.json")
    assert results.row("infer_cam") == ["2", "0", "0", "0", "0", "80 of 80 images", "-", "-"]
    # The manifest is gone: an image was edited, and is made again alone.
    (results.folder / "cams/2-of-2.json").unlink()
    results.journal("cams/2-of-2", 39)
    assert results.row("infer_cam") == ["1", "0", "0", "0", "1", "79 of 80 images", "-", "-"]


def test_a_lock_that_is_held_is_a_job_at_work_and_a_kill_is_seen_at_once(results, hold):
    job = hold("predict/initial/train/1-of-2")
    log = results.folder / "logs/predict/initial/train/1-of-2.log"
    assert results.row("predict/initial/train")[:6] == ["0", "1", "0", "0", "1", "10 of 80 images"]
    with open(log, "a") as file:
        file.write(f"10:00:10 {images(20, 0.5)}\n")
    row = ["0", "1", "0", "0", "1", "20 of 80 images", "0.5", "0:02:00"]
    assert results.row("predict/initial/train") == row
    # Whoever looks leaves the lock where it is.
    assert results.row("predict/initial/train") == row
    # A job that hangs holds its lock, too; its pace is of the past.
    results.age("logs/predict/initial/train/1-of-2.log", 2 * PATIENCE)
    assert results.row("predict/initial/train")[1:] == [*row[1:6], "-", "-"]
    job.send_signal(signal.SIGKILL)
    job.wait()
    row = ["0", "0", "0", "1", "1", "20 of 80 images", "-", "-"]
    assert results.row("predict/initial/train") == row
    (note,) = results.notes()
    assert note == f"no sign of life since 10 min: {log}: {images(20, 0.5)}"


def test_a_log_that_snakemake_has_deleted_does_not_hide_its_job(results, hold):
    hold("gen_gt/1-of-2")
    (results.folder / "logs/gen_gt/1-of-2.log").unlink()
    results.journal("labels/initial/1-of-2", 12)
    assert results.row("gen_gt") == ["0", "1", "0", "0", "1", "12 of 80 images", "-", "-"]


def test_on_another_machine_what_was_written_lately_is_a_sign_of_life(results):
    log = results.log("crf/initial/train/1-of-2", images(4, 2.0), machine=ELSEWHERE, age=999)
    row = ["0", "1", "0", "0", "1", "4 of 80 images", "2", "0:00:38"]
    results.journal("crf/initial/train/1-of-2", 5, age=10)
    assert results.row("crf/initial/train") == row
    results.age("crf/initial/train/1-of-2.journal", 720)
    assert results.row("crf/initial/train") == ["0", "0", "0", "1", *row[4:6], "-", "-"]
    assert results.notes() == [f"no sign of life since 12 min: {log}: {images(4, 2.0)}"]
    patient = {stage.name: stage for stage in read_stages(results.folder, 800.0)}
    assert patient["crf/initial/train"].count("running") == 1
    # Without a lock file nothing else is known, either.
    lock_of(log).unlink()
    assert results.row("crf/initial/train")[3] == "1"


def test_of_a_resumed_shard_only_this_attempt_gives_the_pace(results):
    # Thirty were there; eight made since then, 2 a second, whatever the journal's age.
    results.log("crf/initial/train/1-of-2", ALREADY.format(30, 40), images(38, 2.0), machine="x")
    results.journal("crf/initial/train/1-of-2", 39)
    results.log("crf/initial/train/2-of-2", ALREADY.format(20, 40), machine="x")
    results.journal("crf/initial/train/2-of-2", 40)  # of other settings: not right any more
    row = ["0", "2", "0", "0", "0", "58 of 80 images", "2", "0:00:11"]
    assert results.row("crf/initial/train") == row


def test_failed_and_stopped_jobs_are_named_with_log_and_reason(results):
    trace = "Traceback (most recent call last):\n  File x\nValueError: no class \x1b[2J3"
    failed = results.log(
        "infer_cam/1-of-2", images(9, 1.0), f"stopped by an unexpected error\n{trace}", "failed"
    )
    stopped = results.log("infer_cam/2-of-2", images(7, 1.0), STOP)
    results.log("check_leaks", "a.txt: wrong\nin a long story", "failed")
    assert results.row("infer_cam") == ["0", "0", "1", "1", "0", "16 of 80 images", "-", "-"]
    assert results.row("check_leaks") == ["0", "0", "1", "0", "-", "-", "-", "-"]
    assert results.notes() == [
        f"failed: {results.folder / 'logs/check_leaks.log'}: a.txt: wrong",
        f"failed: {failed}: ValueError: no class ?[2J3",
        f"stopped: {stopped}: {STOP}",
    ]


def test_a_training_shows_its_iterations_and_what_is_left(results):
    pace = Pace("iteration", 50, 200, 8.5, 3600)
    results.log("train_segmentation/initial", pace.line("loss 1", "1 GiB"), machine="x", age=60)
    row = results.row("train_segmentation/initial")
    assert row[:-1] == ["0", "1", "0", "0", "0", "50 of 200 iterations", "8.5"]
    assert row[-1] in ("0:58:59", "0:59:00")
    results.log("train_segmentation/initial", pace.line(), "checkpoint at iteration 50", STOP)
    row = ["0", "0", "0", "1", "0", "50 of 200 iterations", "-", "-"]
    assert results.row("train_segmentation/initial") == row
    results.log("train_segmentation/initial", Pace("iteration", 200, 200, 8.5, 0).line(), "done")
    results.write("segmentation/initial/weights.safetensors")
    row = ["1", "0", "0", "0", "0", "200 of 200 iterations", "-", "-"]
    assert results.row("train_segmentation/initial") == row


def test_logs_of_before_that_do_not_say_done_are_known_by_what_they_made(results):
    results.log("score/cam", age=999)
    results.write("benchmarks/score/cam.tsv")
    results.log("score/val_crf", age=999)
    results.write("benchmarks/score/val_crf.tsv")
    results.age("benchmarks/score/val_crf.tsv", 2000)  # of an earlier attempt
    results.log("gen_gt/1-of-2", age=999)
    results.write("labels/initial/1-of-2.json")
    assert results.row("score")[:4] == ["1", "0", "0", "1"]
    assert results.row("gen_gt")[:5] == ["1", "0", "0", "0", "1"]


def test_stages_that_a_later_one_has_passed_over_are_not_to_come(results):
    results.log("train_segmentation/final", "done")
    assert list(results.stages()) == list(PIPELINE[7:])
    results.log("predict/final/test/1-of-2", "done")
    results.log("score/val_crf", "done")
    results.log("what_comes_one_day", "done")
    extra = ["predict/final/test", "score", "what_comes_one_day"]
    assert list(results.stages()) == [*PIPELINE[7:], *extra]


def test_without_a_list_of_images_a_split_is_not_to_come(results):
    for shard in ("1-of-2", "2-of-2"):
        (results.folder / f"data/val/{shard}.json").unlink()
    assert list(results.stages()) == list(PIPELINE[:-2])


def test_before_the_data_are_indexed_the_number_of_shards_is_not_known(tmp_path):
    results = Results(tmp_path)
    for index in tmp_path.glob("data/*/*.json"):
        index.unlink()
    results.log("render_demo", "done")
    assert results.row("render_demo")[:5] == ["1", "0", "0", "0", "-"]
    assert results.row("infer_cam") == ["-"] * 8


def test_of_another_number_of_shards_the_newest_counts(results):
    for shard in ("1-of-2", "2-of-2"):
        results.age(f"data/train/{shard}.json", 99)
        results.age(f"data/val/{shard}.json", 99)
        results.write(f"cams/{shard}.json")
    results.write("data/train/1-of-1.json", json.dumps({"images": [{"id": "a"}]}))
    assert results.row("infer_cam") == ["0", "0", "0", "0", "1", "0 of 1 images", "-", "-"]


def test_what_is_damaged_is_not_known(results):
    results.write("data/train/1-of-2.json", '{"images": [')
    results.log("infer_cam/1-of-2", images(4, 1.0, total=9), machine="x")
    assert results.row("infer_cam")[5] == "4 of 49 images"
    results.log("infer_cam/1-of-2", machine="x")
    assert results.row("infer_cam")[5:] == ["-", "-", "-"]


PLACES = ["data/train/1-of-2.json", "cams/1-of-2.journal", "logs/infer_cam/1-of-2.log"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([*PLACES, "logs/infer_cam/.1-of-2.log.lock"]), st.binary() | st.text())
def test_any_bytes_in_any_file(results, place, content):
    results.log("infer_cam/1-of-2", images(4, 1.0))
    results.journal("cams/1-of-2", 4)
    path = results.folder / place
    path.write_bytes(content if isinstance(content, bytes) else content.encode(errors="replace"))
    progress.report(results.folder, PATIENCE)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.recursive(st.none() | st.integers() | st.text(), lambda v: st.lists(v) | st.dictionaries(
    st.sampled_from(["id", "images", "a"]), v)))  # fmt: skip
def test_any_json_in_any_file(results, value):
    results.log("infer_cam/1-of-2", machine="x")
    text = json.dumps(value)
    for content in (text, json.dumps({"images": [value, {"id": value}]})):
        results.write("data/train/1-of-2.json", content)
        results.write("cams/1-of-2.journal", f"{content}\n{text}")
        progress.report(results.folder, PATIENCE)


@pytest.mark.parametrize("count", range(1, 12))
def test_files_that_vanish_while_it_looks(results, monkeypatch, count):
    results.log("infer_cam/1-of-2", images(4, 1.0))
    results.journal("cams/1-of-2", 4)
    files = [path for path in results.folder.rglob("*") if path.is_file()]
    open_file, calls = open, []

    def vanishing(path, *arguments, **options):
        calls.append(path)
        if len(calls) == count:
            for file in files:
                file.unlink(missing_ok=True)
        return open_file(path, *arguments, **options)

    monkeypatch.setattr("builtins.open", vanishing)
    monkeypatch.setattr("io.open", vanishing)
    run_state._image_ids.cache_clear()
    progress.report(results.folder, PATIENCE)


@pytest.mark.parametrize("make", [lambda path: None, Path.mkdir, Path.touch])
def test_a_folder_of_no_run_is_refused_with_a_remedy(tmp_path, make):
    make(tmp_path / "dmo")
    with pytest.raises(InputError, match=r"dmo: no run wrote anything .* as results/demo"):
        progress.report(tmp_path / "dmo", PATIENCE)


def test_nothing_is_written_and_torch_is_not_loaded(results):
    results.log("infer_cam/1-of-2", images(4, 1.0))
    results.log("infer_cam/2-of-2", "a.png: wrong", "failed")

    def snapshot():
        return {path: path.stat().st_mtime_ns for path in results.folder.rglob("*")}

    before = snapshot()
    code = "import sys; from i2crc.cli.main import run; run(sys.argv[1:]); print(*sys.modules)"
    command = [sys.executable, "-c", code, "progress", str(results.folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert snapshot() == before
    *lines, modules = done.stdout.splitlines()
    assert not {"torch", "numpy", "snakemake"} & set(modules.split())
    assert lines[0].split() == ["stage", *progress.HEADER[1:]]
    assert len({len(line) for line in lines[: lines.index("")]}) == 1
    assert lines[-1].startswith("failed: ") and lines[-1].endswith("a.png: wrong")


def test_watching_shows_it_again_until_it_is_stopped(results):
    command = [Path(sys.executable).with_name("i2crc"), "progress", results.folder]
    process = subprocess.Popen(
        [*command, "--watch", "0.1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    heads = [line for _, line in zip(range(60), process.stdout, strict=False) if "demo " in line]
    assert len(heads) > 1
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 128 + signal.SIGINT
    assert said == ""


@pytest.mark.parametrize("number", ["0", "-1", "nan", "inf", "often"])
def test_an_interval_is_a_number_above_zero(number):
    with pytest.raises(ValueError):
        progress.positive(number)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "an unknown time"), (7, "7 s"), (119, "119 s"), (725, "12 min"), (8000, "2 h"),
     (9e5, "10 d")],
)  # fmt: skip
def test_times_in_words(seconds, words):
    assert progress.spell(seconds) == words


def test_long_lines_are_cut_and_their_file_is_not():
    job = JobState(Path("a" * 300), "failed", 1.0, "b" * 300, None)
    (note,) = progress.notes([StageState("score", [job])])
    assert note == f"failed: {'a' * 300}: {'b' * progress.LINE_LENGTH}"


def test_the_stages_are_those_of_the_rules():
    """Logs, and where there are some manifests and weights, are where the rules put them."""
    text = "".join(path.read_text() for path in (PROJECT / "rules").glob("*.smk"))
    for rule in re.split(r"\nrule ", text)[1:]:
        name = rule.split(":")[0]
        found = re.search(r'log:\n +f"{RESULTS}/logs/(.*?)"', rule)
        if found is None:
            assert "shell:" not in rule  # a target
            continue
        log = found[1]
        assert log.split("/")[0].removesuffix(".log") == name
        assert ("{{shard}}" in log) == (name in SHARDED)
        folder = (SHARDED | TRAININGS).get(name)
        if folder:
            file = "weights.safetensors" if name in TRAININGS else "{{shard}}.json"
            places = log.removeprefix(name).removesuffix(".log").removesuffix("/{{shard}}")
            output = rule.partition("output:")[2].partition("log:")[0]
            assert f'"{{RESULTS}}/{folder}{places}/{file}"' in output
    assert {stage.split("/")[0] for stage in PIPELINE} == {*SHARDED, *TRAININGS}
