"""Other settings and back: what is kept, what a run says before it trains again, what it saves."""

import shutil
import sys
from argparse import Namespace

import pytest
import yaml

from helpers.project import REDUCED, ROOT, Project, merge, run
from i2crc.cli import verify
from i2crc.config.load import load_config

WEIGHTS = "results/demo/classifier/weights.safetensors"
ROUNDS = ("initial", "final")
OTHER = {"classifier": {"epochs": 2}}
AGAIN = "train_classifier again: classifier.epochs was 1, is 2"
FOLLOWS = "again only if these files change, which are made again: results/demo/labels/refined"


def said(project: Project, *arguments: str, settings: dict | None = None) -> str:
    done = project.snakemake(*arguments, settings=settings)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_going_back_trains_nothing_and_going_on_says_why_it_trains(copied):
    before = (copied.folder / WEIGHTS).read_bytes()
    text = said(copied, WEIGHTS, settings=OTHER)
    assert text.count(AGAIN) == 1
    assert text.index(AGAIN) < text.index("start  train_classifier")
    assert "segmentation" not in text
    assert (copied.folder / WEIGHTS).read_bytes() != before

    assert "train_classifier again" not in said(copied, "--dry-run", WEIGHTS)
    assert "train_classifier again" not in said(copied, WEIGHTS)
    assert "already trained" in (copied.results / "logs/train_classifier.log").read_text()
    assert (copied.folder / WEIGHTS).read_bytes() == before


def test_with_one_round_the_first_network_is_the_final_one(copied):
    """It trains nothing, nor does the way back."""
    initial, final = (copied.results / f"segmentation/{n}/weights.safetensors" for n in ROUNDS)
    before = final.read_bytes()
    text = said(copied, "scores", "report", settings={"rounds": 1})
    assert "start  predict/final/val" in text and "again" not in text
    assert final.read_bytes() == initial.read_bytes() != before
    log = copied.results / "logs/train_segmentation/final.log"
    assert "already trained" in log.read_text()
    page = (copied.results / "report/landing.html").read_text()
    assert "first network, CRF" in page and "round two" not in page
    said(copied, "scores")
    assert "already trained" in log.read_text()
    assert final.read_bytes() == before


def test_a_dry_run_says_what_would_train_again(finished):
    text = said(finished, "--dry-run", settings=merge(OTHER, {"segmentation": {"iterations": 3}}))
    iterations = "again: segmentation.iterations was 2, is 3"
    for line in (
        AGAIN, f"train_segmentation/initial {iterations}", f"train_segmentation/final {iterations}"
    ):  # fmt: skip
        assert text.count(line) == 1
    text = said(finished, "--dry-run", settings={"crf": {"iterations": 2}})
    assert f"train_segmentation/final {FOLLOWS}" in text
    assert "train_segmentation/initial again" not in text
    assert "train_classifier again" not in text
    text = said(finished, "--dry-run", settings={"evaluation": {"sheet_images": 2}})
    assert not any(f"{name} again" in text for name in ("classifier", "initial", "final"))


def test_the_saved_settings_are_those_of_the_run_and_reproduce_it(finished):
    saved = finished.results / "config.yaml"
    demo = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    config = load_config(merge(demo, REDUCED), "the demo")
    assert load_config(yaml.safe_load(saved.read_text()), str(saved)) == config
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--cores",
        "2",
        "--dry-run",
        "--configfile",
        saved,
    ]
    done = run(command, finished.folder)
    text = done.stdout + done.stderr
    assert done.returncode == 0, text
    assert "Nothing to be done" in text
    assert "warning" not in text.lower()


@pytest.mark.exhaustive
def test_a_comparison_and_a_dry_run_leave_the_saved_settings(copied):
    saved = copied.results / "config.yaml"
    before = saved.read_text()
    shutil.copytree(copied.results, copied.results.with_name("copy"))
    compared = {"experiments": ["results/demo", "results/copy"]}
    said(copied, "compare", settings={"compare": compared, "seed": 1})
    said(copied, "--dry-run", settings={"seed": 1})
    assert saved.read_text() == before


def test_every_file_of_a_finished_run_is_as_recorded(finished, capsys):
    assert verify.main(Namespace(results=finished.results)) == 0, capsys.readouterr().out
