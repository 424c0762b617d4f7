"""Runs with less data than the demo has: no saliency maps, no validation images."""

import json
import shutil

import pytest

from helpers.project import config_options

NO_VAL = {"dataset": {"val_list": ""}}
COMPUTED = {"saliency": {"source": "model"}}
NOT_SCORED = (
    "nothing was scored on val, because the data set has no validation images: dataset.val_list is "
    "empty, and none are drawn"
)


@pytest.mark.exhaustive
def test_without_validation_images_all_but_their_scores_is_made(copied):
    ran = copied.run(settings=NO_VAL)
    assert not {"train_classifier", "train_segmentation", "predict", "crf"} & set(ran.computed)
    table = (copied.results / "scores/table.md").read_text()
    assert table.startswith("**") and f"**{NOT_SCORED}**" in table
    assert "refined_labels" in table and "val_crf" not in table
    for page in ("scores/table.html", "report/landing.html"):
        assert NOT_SCORED in (copied.results / page).read_text()
    quality = (copied.results / "report/quality.html").read_text()
    assert "not scored: no validation images" in quality
    assert (copied.results / "model.safetensors").is_file()
    assert "classifier_quality" not in ran.started
    full = NO_VAL | {"segmentation": {"supervision": "full"}, "experiment": "full"}
    assert "score" not in copied.planned(settings=full)


@pytest.mark.exhaustive
def test_saliency_maps_are_computed_and_those_that_are_given_stay(copied):
    names = ("saliency/1-of-1.json", "quality/saliency.json")
    targets = [f"results/demo/{name}" for name in names]
    ran = copied.run(*targets, settings=COMPUTED)
    assert ran.computed["compute_saliency"] == ran.computed["saliency_quality"] == 1
    manifest = json.loads((copied.results / names[0]).read_text())
    assert manifest["count"] == 12
    assert manifest["provenance"]["settings"]["licence"] == "Apache-2.0"
    # A damaged map alone is made again, and nothing follows from it.
    (copied.results / "saliency/computed" / next(iter(manifest["files"]))).write_bytes(b"")
    ran = copied.run(*targets, settings=COMPUTED)
    assert set(ran.computed) == {"compute_saliency"}
    log = (copied.results / "logs/compute_saliency/1-of-1.log").read_text()
    assert "11 of 12 images were already made" in log
    assert "download_saliency" not in copied.planned("pseudo_labels")


def test_where_the_maps_come_from(copied):
    """A data set with a folder of maps uses them; without one a network computes them."""
    dataset = copied.results / "dataset"
    dataset.rename(copied.folder / "photos")
    (copied.folder / "photos/saliency.tar.gz").unlink()
    shutil.copytree(copied.folder / "photos", copied.folder / "with_maps")
    (copied.folder / "with_maps/saliency").mkdir()
    cases = [
        ("photos", {}, "compute_saliency"),
        ("photos", {"location": "maps.zip"}, "download_saliency"),
        ("with_maps", {}, "download_saliency"),
        ("with_maps", {"source": "model"}, "compute_saliency"),
    ]
    commands = [
        ["pseudo_labels", *config_options({"dataset": {"root": root}, "experiment": "mine",
                                           "saliency": saliency})]
        for root, saliency, _ in cases
    ]  # fmt: skip
    for found, (*_, expected) in zip(copied.looks(*commands), cases, strict=True):
        assert set(found) & {"download_saliency", "compute_saliency"} == {expected}
        assert {"train_classifier", "gen_gt"} <= set(found)


@pytest.mark.exhaustive
def test_a_network_that_makes_no_maps_is_named_before_anything_is_computed(copied):
    (copied.folder / "net.onnx").write_bytes(b"none")
    settings = {"saliency": {"source": "model", "model": {"path": "net.onnx"}}}
    done = copied.snakemake("preflight", settings=settings)
    assert done.returncode != 0
    assert "net.onnx: cannot be used as saliency network (" in done.stdout + done.stderr
    assert "give an ONNX file that onnxruntime can run in saliency.model.path" in done.stderr
