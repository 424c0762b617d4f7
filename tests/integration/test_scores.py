"""Scores of the reduced demo, recomputed from its PNGs; guards, explanations, comparison, zip."""

import csv
import json
import re
import shlex
import shutil
import sys
import zipfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.project import ROOT, SCORED_IMAGES, run
from i2crc.artifacts.stages import STAGES
from i2crc.report.findings import VAL_PAGE, fallen_stages

FOLDERS = {
    "initial_labels": ("train", "labels/initial/images"),
    "refined_labels": ("train", "labels/refined/images"),
    "train_aug_crf": ("train", "crf/initial/train/images"),
    "val_prediction": ("val", "predictions/final/val/images"),
    "val_crf": ("val", "crf/final/val/images"),
}


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def recompute(finished, split: str, folder: str) -> dict:
    """All scores by plain sums over classes, from the PNGs alone."""
    index = json.loads((finished.results / f"data/{split}.json").read_text())
    masks = [finished.folder / entry["mask"] for entry in index["images"]]
    files = [finished.results / folder / f"{entry['id']}.png" for entry in index["images"]]
    sums = defaultdict(float)
    for truth, label in zip(map(pixels, masks), map(pixels, files), strict=True):
        known = truth != 255
        sums["known"] += known.sum()
        sums["answered"] += (known & (label != 255)).sum()
        sums["right"] += (known & (label == truth)).sum()
        for c in range(len(index["classes"]) + 1):
            answered = known & (label != 255)
            filled = np.where(label == 255, 0, label)
            sums["hit", c] += (known & (truth == c) & (label == c)).sum()
            sums["truth", c] += (known & (truth == c)).sum()
            sums["truth answered", c] += (answered & (truth == c)).sum()
            sums["said", c] += (known & (label == c)).sum()
            sums["hit filled", c] += (known & (truth == c) & (filled == c)).sum()
            sums["said filled", c] += (known & (filled == c)).sum()
    labels = range(len(index["classes"]) + 1)

    def mean_iou(hit: str, truth: str, said: str) -> float:
        present = [c for c in labels if sums[truth, c]]
        union = {c: sums[truth, c] + sums[said, c] - sums[hit, c] for c in present}
        return float(np.mean([sums[hit, c] / union[c] for c in present]))

    return {
        "images": len(files),
        "miou": mean_iou("hit", "truth answered", "said"),
        "miou_255_as_background": mean_iou("hit filled", "truth", "said filled"),
        "miou_255_as_wrong": mean_iou("hit", "truth", "said"),
        "coverage": sums["answered"] / sums["known"],
        "pixel_accuracy": sums["right"] / sums["answered"] if sums["answered"] else 0,
    }


@pytest.mark.parametrize("stage", FOLDERS)
def test_scores_are_those_of_the_pngs(finished, stage):
    score = json.loads((finished.results / f"scores/{stage}.json").read_text())
    for name, value in recompute(finished, *FOLDERS[stage]).items():
        assert score[name] == pytest.approx(value, abs=1e-12), name
    low, high = score["miou_interval"]
    assert low <= high
    assert 0 <= score["boundary_iou"] <= 1
    with open(finished.results / f"scores/{stage}.images.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == score["images"]


def test_saliency_quality_is_that_of_the_pngs(finished):
    quality = json.loads((finished.results / "quality/saliency.json").read_text())
    index = json.loads((finished.results / "data/train.json").read_text())
    both = either = 0
    errors = []
    for entry in index["images"]:
        truth = pixels(finished.folder / entry["mask"])
        saliency = pixels(finished.results / f"saliency/maps/{entry['id']}.png")[truth != 255]
        foreground = truth[truth != 255] > 0
        both += ((saliency >= 127.5) & foreground).sum()
        either += ((saliency >= 127.5) | foreground).sum()
        errors.append(np.abs(saliency / 255 - foreground).mean())
    assert quality["iou"] == pytest.approx(both / either)
    assert quality["mae"] == pytest.approx(np.mean(errors))


def test_a_sweep_holds_the_configured_value_and_the_score_of_the_stage(finished):
    for parameter, stage in (("cam_background", "cam"), ("conflict_threshold", "initial_labels")):
        sweep = json.loads((finished.results / f"sweeps/{parameter}.json").read_text())
        score = json.loads((finished.results / f"scores/{stage}.json").read_text())
        assert sweep["fixed"]["miou"] == pytest.approx(score["miou"])
        best = max(sweep["points"], key=lambda point: point["miou"])
        assert sweep["oracle"]["miou"]["miou"] == best["miou"] >= sweep["fixed"]["miou"]


@pytest.mark.exhaustive
def test_a_run_shows_only_the_table_that_belongs_to_its_targets(copied):
    def shown(*arguments: str) -> str:
        done = copied.snakemake(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stderr

    sweep = "results/demo/sweeps/cam_background.json"
    assert "Scores" not in shown(sweep, "--forcerun", "sweep")
    (copied.results / "report/sheets/val_best.html").unlink()
    older = shown("report")
    assert "Scores of an earlier run, found up to date: results/demo/scores/table.md" in older
    assert "| val_crf " in older
    assert "Pictures: results/demo/report, results/demo/gallery/index.html\n" in older
    (command,) = re.findall("all figures in one page: snakemake (.*)", older)
    shown(*shlex.split(command))
    assert (copied.results / "report.html").is_file()
    (copied.results / "scores/table.md").unlink()
    new = shown("scores")
    assert "Scores of this run: results/demo/scores/table.md" in new
    assert "| val_crf " in new and "Pictures" not in new


def test_every_artifact_carries_its_provenance(finished):
    artifacts = [
        path
        for folder in ("data", "cams", "labels", "predictions", "crf", "scores", "sweeps")
        for path in (finished.results / folder).rglob("*.json")
    ]
    assert len(artifacts) > 20
    facts = [json.loads(path.read_text())["provenance"] for path in artifacts]
    for training in ("classifier", "segmentation/initial", "segmentation/final"):
        beside = finished.results / training / "weights.safetensors.provenance"
        facts.append(json.loads(beside.read_text()))
        assert facts[-1]["seed"] == 0
    names = {"script", "settings", "settings_sha256", "code_sha256", "inputs", "seed", "precision",
             "device", "versions", "git", "start", "seconds"}  # fmt: skip
    assert all(names <= set(found) for found in facts)


def test_what_got_worse_is_told_wherever_scores_are(finished):
    """Two iterations teach the networks of the reduced demo nothing."""
    files = [finished.results / f"scores/{stage}.json" for stage in SCORED_IMAGES]
    scores = {path.stem: json.loads(path.read_text()) for path in files}
    images = [path.with_suffix(".images.csv") for path in files]
    fallen = fallen_stages(scores, images, 1000)
    assert any("(initial labels)" in one.text for one in fallen)
    for name in ("scores/table.md", "scores/table.html", "report/landing.html", "MODEL_CARD.md"):
        text = (finished.results / name).read_text()
        told = [one.text for one in fallen if name != "MODEL_CARD.md" or one.page == VAL_PAGE]
        assert [one.text for one in fallen if one.text in text] == told, name


def explain(finished, path: str):
    command = [sys.executable, "-m", "i2crc.cli.main", "explain", path]
    return run(command, finished.folder)


def test_explain_leads_back_to_the_photograph(finished):
    entry = json.loads((finished.results / "data/train.json").read_text())["images"][0]
    done = explain(finished, f"results/demo/labels/refined/images/{entry['id']}.png")
    assert done.returncode == 0, done.stderr
    for word in ("refine_labels", "crf", "predict", "train_segmentation", "gen_gt", "infer_cam",
                 "train_classifier", "prepare_data", entry["image"]):  # fmt: skip
        assert word in done.stdout, word


@pytest.mark.parametrize("path", ["scores/val_crf.json", "classifier/weights.safetensors",
                                  "report/sweeps.html", "scores/table.md",
                                  "model.safetensors", "MODEL_CARD.md"])  # fmt: skip
def test_explain_knows_every_kind_of_artifact(finished, path):
    done = explain(finished, f"results/demo/{path}")
    assert done.returncode == 0, done.stderr
    assert "train_classifier" in done.stdout


@pytest.mark.exhaustive
def test_validation_images_in_the_training_list_stop_the_run_before_it_trains(copied):
    leaky = {"experiment": "leaky", "dataset": {"val_list": "train_cls.txt"}}
    done = copied.snakemake("cams", settings=leaky)
    assert done.returncode != 0
    output = done.stdout + done.stderr
    assert "12 problems to fix before the run can start" in output
    assert "each of 12 (demo_train_0001, " in output
    assert "a validation image that is in the training list too" in output
    assert "evaluation.allow_leaks" in output
    assert not (copied.folder / "results/leaky/classifier").exists()


def test_compare_tells_the_difference_and_the_settings_that_differ(copied):
    other = copied.folder / "results/other"
    shutil.copytree(copied.results, other, dirs_exist_ok=True)
    for path in (other / "labels/initial").glob("*.json"):
        content = json.loads(path.read_text())
        content["provenance"]["settings"]["conflict_threshold"] = 0.75
        path.write_text(json.dumps(content))
    compared = {"compare": {"experiments": ["results/demo", "results/other"]}}
    before = {path: path.stat().st_mtime_ns for path in other.rglob("*")}
    for experiment in ("demo", "third"):  # made with other settings than these
        settings = {**compared, "experiment": experiment, "dataset": {"demo": {"train": 13}}}
        assert copied.planned("compare", settings=settings) == {"compare"}
    done = copied.snakemake("compare", settings={**compared, "seed": 1})
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path: path.stat().st_mtime_ns for path in other.rglob("*")} == before
    table = (copied.results / "compare/table.md").read_text()
    assert "val_crf" in table
    places = "results/demo/compare/table.md, results/demo/compare/compare.html"
    assert f"Comparison of this run: {places}\n{table}" in done.stderr
    assert "Scores of" not in done.stderr
    nothing = {"compare": {"experiments": ["results/demo", "results/nothing"]}}
    for arguments in (["compare"], ["--dry-run", "compare"]):
        failed = copied.snakemake(*arguments, settings=nothing)
        assert failed.returncode == 1
        missing = f"results/nothing: no such folder below {copied.folder}; correct compare.exp"
        assert f"\n{missing}" in failed.stdout + failed.stderr
    (other / "scores/val_crf.images.csv").unlink()
    failed = copied.snakemake("compare", settings=compared)
    assert "val_crf.images.csv: missing or damaged" in failed.stderr
    assert (copied.results / "compare/table.md").read_text() == table
    page = (copied.results / "compare/compare.html").read_text()
    assert "conflict_threshold" in page
    assert "<svg" in page


@pytest.mark.exhaustive
def test_the_zip_for_the_test_server(copied):
    done = copied.snakemake("voc_submission", settings={"dataset": {"test_list": "val_cls.txt"}})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rule train_classifier" not in done.stdout + done.stderr
    with zipfile.ZipFile(copied.results / "voc_submission.zip") as archive:
        names = archive.namelist()
        assert len(names) == 6
        for name in names:
            assert name.startswith("results/VOC2012/Segmentation/comp6_test_cls/demo_val_")
            with archive.open(name) as file, Image.open(file) as image:
                assert (image.mode, image.size) == ("P", (64, 64))


def test_a_submission_without_a_list_says_which_setting_is_missing(copied):
    done = copied.snakemake("voc_submission", settings={"experiment": "none"})
    assert done.returncode != 0
    assert "dataset.test_list is empty" in done.stdout + done.stderr


def test_every_script_has_a_help():
    for stage in ("compare", "score", "sweep", "voc_submission"):
        script = ROOT / "workflow_scripts" / STAGES[stage].script
        done = run([sys.executable, script, "--help"], ROOT)
        assert done.returncode == 0, done.stderr
