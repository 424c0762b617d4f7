"""A run that is killed in every way, restarted by the same command, ends as one left alone.

tests/soak does the same at length.
"""

import shutil
import signal
import time

import pytest

from helpers.project import Project
from soak.soak import FORBIDDEN, KINDS, KilledRun, Soak, contents

SETTINGS = {"runtime": {"workers": 1, "checkpoint_seconds": 0.001, "inference_threads": 2}}


def test_a_run_killed_three_times_ends_with_the_same_bytes(copied, tmp_path):
    before = contents(copied.results)
    for folder in ("classifier", "cams"):
        shutil.rmtree(copied.results / folder)
    command = copied.command("cams", settings=SETTINGS)
    for number, (stage, kind) in enumerate(
        (
            ("train_classifier", "kill snakemake"),
            ("train_classifier", "kill all"),
            ("infer_cam", "kill stage"),
        )
    ):
        run = KilledRun(command, copied.folder, tmp_path / f"{number}.log")
        while stage not in run.begun():
            assert run.process.poll() is None, run.text()
            time.sleep(0.1)
        # Python starts for about three seconds; then the stage computes.
        time.sleep(3)
        assert run.hit(*KINDS[kind])
        assert run.process.wait(60), run.text()
    done = copied.snakemake("cams", settings=SETTINGS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not any(word in done.stdout + done.stderr for word in FORBIDDEN)
    assert contents(copied.results) == before


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (signal.SIGKILL, "A job above was killed from outside, most likely by the kernel"),
        (signal.SIGSEGV, "A job above crashed in compiled code (SIGSEGV), which is no lack of"),
        (signal.SIGABRT, "A job above crashed in compiled code (SIGABRT), which is no lack of"),
    ],
)
def test_a_job_that_a_signal_ended_is_said_to_be_killed_or_crashed(tmp_path, number, words):
    project = Project.new(tmp_path / "project")
    script = project.folder / "workflow_scripts/data/render_demo.py"
    script.write_text(f"import os\n\nos.kill(os.getpid(), {number})\n")
    said = project.snakemake("cams").stderr
    assert words in said
    assert said.count("A job above") == 1


@pytest.mark.exhaustive
def test_a_run_killed_in_every_way_ends_with_the_same_bytes(finished, tmp_path):
    targets = ("refined_labels",)
    soak = Soak(tmp_path, finished.results, SETTINGS, kills=7, seed=3, targets=targets)
    soak.run()
    assert not soak.problems, "\n".join(soak.problems)
    killed = "".join(run.text() for run in soak.runs)
    assert "Nothing finished is lost" in killed
    assert "A job above was killed from outside" in killed
