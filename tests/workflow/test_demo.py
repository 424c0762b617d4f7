"""The reduced demo, end to end: what is there afterwards, and what a change makes stale."""

import hashlib
import json

import pytest

STAGES = {
    "cam": ("train", 12),
    "initial_labels": ("train", 12),
    "train_aug_prediction": ("train", 12),
    "train_aug_crf": ("train", 12),
    "refined_labels": ("train", 12),
    "val_prediction": ("val", 6),
    "val_crf": ("val", 6),
}
SCORES = ("miou", "miou_255_as_background", "miou_255_as_wrong", "coverage", "pixel_accuracy")
FIGURES = {"plot_training", "plot_scores", "contact_sheet", "run_facts"}
SWEEPS = {"sweep", "plot_sweeps"}
CRF = {"train_segmentation", "crf", "refine_labels", "predict", "score", "score_table", *FIGURES}


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_is_scored(finished, stage):
    score = json.loads((finished.results / f"scores/{stage}.json").read_text())
    assert (score["stage"], (score["split"], score["images"])) == (stage, STAGES[stage])
    assert all(0 <= score[name] <= 1 for name in SCORES)
    classes = (finished.results / "dataset/classes.txt").read_text().split()
    assert list(score["iou"]) == ["background", *classes]


def test_every_file_of_a_manifest_is_there_with_its_digest(finished):
    folders = ("cams", "labels", "predictions/initial", "predictions/final", "crf")
    manifests = [p for f in folders for p in (finished.results / f).rglob("*-of-2.json")]
    assert len(manifests) >= 2 * 7  # attention, two sets of labels, two predictions and their CRF
    for path in manifests:
        manifest = json.loads(path.read_text())
        assert manifest["count"] == len(manifest["files"])
        for name, digest in manifest["files"].items():
            content = (path.parent / manifest["folder"] / name).read_bytes()
            assert hashlib.sha256(content).hexdigest() == digest


def test_a_second_run_has_nothing_to_do(finished):
    assert finished.stale() == set()


@pytest.mark.parametrize(
    ("settings", "rules"),
    [
        ({"pseudo_labels": {"conflict_threshold": 0.8}}, {"gen_gt", *SWEEPS, *CRF}),
        ({"crf": {"bilateral_weight": 5}}, CRF),
        (
            {"evaluation": {"cam_background": 0.3, "sheet_images": 3}},
            {"score", "score_table", "run_facts", *SWEEPS},
        ),
        ({"evaluation": {"sheet_images": 2}}, {"contact_sheet", "run_facts"}),
        ({"runtime": {"workers": 1, "log_seconds": 1}}, set()),
    ],
    ids=["label threshold", "CRF weight", "scoring threshold", "pictures", "runtime"],
)
def test_a_setting_makes_its_own_stage_stale_and_what_follows(finished, settings, rules):
    assert finished.stale(settings) == rules


def test_touched_or_reformatted_code_makes_nothing_stale(finished):
    module = finished.folder / "workflow_scripts/i2crc/pseudo_labels.py"
    original = module.read_text()
    module.write_text(original + "\n# A remark.\n")
    try:
        assert finished.stale() == set()
    finally:
        module.write_text(original)


def test_changed_code_makes_the_stages_that_run_it_stale(finished):
    module = finished.folder / "workflow_scripts/i2crc/pseudo_labels.py"
    original = module.read_text()
    module.write_text(original + "\nUNUSED = 1\n")
    try:
        stale = finished.stale()
    finally:
        module.write_text(original)
    assert "gen_gt" in stale
    assert "refine_labels" in stale
    assert "train_classifier" not in stale
    assert "infer_cam" not in stale


def test_an_unknown_key_is_refused_with_the_nearest(finished):
    done = finished.snakemake("--dry-run", settings={"classifier": {"epoch": 1}})
    assert done.returncode != 0
    assert "unknown key `classifier.epoch`" in done.stdout + done.stderr
    assert "`classifier.epochs`" in done.stdout + done.stderr
