"""The reduced demo, end to end: what is there afterwards, and what a change makes stale."""

import hashlib
import json

import pytest

from helpers.project import SCORED_IMAGES

SCORES = ("miou", "miou_255_as_background", "miou_255_as_wrong", "coverage", "pixel_accuracy")


@pytest.mark.parametrize("stage", SCORED_IMAGES)
def test_every_stage_is_scored(finished, stage):
    score = json.loads((finished.results / f"scores/{stage}.json").read_text())
    assert (score["stage"], (score["split"], score["images"])) == (stage, SCORED_IMAGES[stage])
    assert all(0 <= score[name] <= 1 for name in SCORES)
    classes = (finished.results / "dataset/classes.txt").read_text().split()
    assert list(score["iou"]) == ["background", *classes]


def test_every_file_of_a_manifest_is_there_with_its_digest(finished):
    folders = ("cams", "labels", "predictions/initial", "predictions/final", "crf")
    manifests = [p for f in folders for p in (finished.results / f).rglob("*-of-1.json")]
    assert len(manifests) >= 7  # attention, two sets of labels, two predictions and their CRF
    for path in manifests:
        manifest = json.loads(path.read_text())
        assert manifest["count"] == len(manifest["files"])
        for name, digest in manifest["files"].items():
            content = (path.parent / manifest["folder"] / name).read_bytes()
            assert hashlib.sha256(content).hexdigest() == digest


def test_a_second_run_has_nothing_to_do(finished):
    assert finished.planned() == set()


def test_an_unknown_key_is_refused_with_the_nearest(finished):
    done = finished.snakemake("--dry-run", settings={"classifier": {"epoch": 1}})
    assert done.returncode != 0
    assert "unknown key `classifier.epoch`" in done.stdout + done.stderr
    assert "`classifier.epochs`" in done.stdout + done.stderr
