"""The leak guard: each leak is a finding for the tables, and a problem for preflight to report."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from helpers.project import ROOT
from helpers.restored import check_restored
from i2crc.artifacts.stages import STAGES
from i2crc.config.schema import Weights
from i2crc.data.images import write_label
from i2crc.data.index import Entry, Index, Original, read_index
from i2crc.evaluation.leaks import labels_equal_to_masks, shared_images
from i2crc.models.weight_files import save_weights
from i2crc.runtime.errors import Problem

SCRIPT = ROOT / "workflow_scripts" / STAGES["check_leaks"].script


def write_index(path: Path, split: str, images: dict[str, str]) -> Path:
    entries = [
        {"id": name, "image": f"{name}.jpg", "mask": None, "classes": [0], "width": 1,
         "height": 1, "sha256": sha}
        for name, sha in images.items()
    ]  # fmt: skip
    path.write_text(json.dumps({"split": split, "classes": ["cat"], "images": entries}))
    return path


@pytest.fixture
def check(tmp_path):
    """Run check_leaks on a training and a validation list {id: digest}: findings and leaks."""

    def run(
        train: dict, val: dict, *arguments: str, **networks: dict
    ) -> tuple[list[str], list[str]]:
        output = tmp_path / "leaks.json"
        weights = {name: Weights(**values).model_dump() for name, values in networks.items()}
        command = [
            SCRIPT,
            "--train", write_index(tmp_path / "train.json", "train", train),
            "--val", write_index(tmp_path / "val.json", "val", val),
            "--weights", json.dumps(weights), "--output", output, *arguments,
        ]  # fmt: skip
        done = subprocess.run(
            [sys.executable, *command], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        check_restored(command, [output], tmp_path)
        written = json.loads(output.read_text())
        return written["findings"], [str(Problem(**leak)) for leak in written["leaks"]]

    return run


def test_clean_lists_have_no_findings(check):
    assert check({"a": "1", "b": "2"}, {"c": "3"}, segmentation={}) == ([], [])


def test_large_photographs_are_compared_themselves_not_their_working_copies():
    """The copy says which photograph it is of, so that copies of equal ones may differ."""

    def index(split: str, name: str, sha256: str) -> Index:
        original = Original(f"{name}.JPG", 4000, 3000, sha256)
        entry = Entry(name, f"working/{name}.jpg", None, [0], 4, 3, name, original=original)
        return Index(split, ["cat"], [entry])

    assert not shared_images(index("train", "a", "1"), index("val", "b", "2"))
    (leak,) = shared_images(index("train", "a", "1"), index("val", "b", "1"))
    assert leak.file == "b.JPG = a.JPG"


def test_validation_images_in_the_training_list_are_found_by_name(check):
    train = {name: name for name in "abcdefgh"}
    (finding,), leaks = check(train, {**train, "z": "9"})
    assert finding == (
        "a validation image that is in the training list too (8 in all): a, b, c, d, e"
    )
    assert [leak[0] for leak in leaks] == list(train)
    assert leaks[0].startswith("a: a validation image that is in the training list too; take it ")
    assert "evaluation.allow_leaks" in leaks[0]


def test_images_that_cannot_be_used_are_found_by_name_too(check, tmp_path):
    check({}, {})
    for split in ("train", "val"):
        index = json.loads((tmp_path / f"{split}.json").read_text())
        index["left_out"] = ["bad"]
        (tmp_path / f"{split}.json").write_text(json.dumps(index))
    train, val = (read_index(tmp_path / f"{split}.json") for split in ("train", "val"))
    assert [leak.file for leak in shared_images(train, val)] == ["bad"]


def test_the_same_photograph_under_another_name_is_found(check):
    (finding,), (leak,) = check({"a": "1"}, {"z": "1"})
    assert finding.endswith("training list too, under another name (1 in all): z.jpg = a.jpg")
    assert leak.startswith("z.jpg = a.jpg: a validation image that is in the training list too, un")


def test_weights_declared_to_have_seen_the_masks_are_found(check):
    seen = {"masks_seen": ["voc2012", "coco"], "name": "DEFAULT"}
    (finding,), (leak,) = check({"a": "1"}, {"b": "2"}, "--dataset-name=voc2012", segmentation=seen)
    what = "initial weights that have seen ground-truth masks of coco, voc2012"
    assert finding == f"{what} (1 in all): segmentation.weights (DEFAULT)"
    assert leak.startswith(f"segmentation.weights (DEFAULT): {what}; ")
    assert check({"a": "1"}, {"b": "2"}, "--dataset-name=ade20k", segmentation=seen) == ([], [])


def test_weights_of_this_project_that_record_it_are_found(check, tmp_path):
    file = tmp_path / "ceiling.safetensors"
    save_weights(file, nn.Linear(1, 1), {"masks_seen": ["voc2012"]})
    weights = {"source": "file", "name": str(file)}
    (finding,), _ = check({"a": "1"}, {"b": "2"}, "--dataset-name=voc2012", classifier=weights)
    assert "classifier.weights" in finding


def test_a_weight_file_that_cannot_be_read_is_no_leak(check, tmp_path):
    weights = {"source": "file", "name": str(tmp_path / "none.safetensors")}
    assert check({"a": "1"}, {"b": "2"}, classifier=weights) == ([], [])


def test_a_data_set_without_a_name_cannot_be_compared(check):
    (finding,), (leak,) = check({"a": "1"}, {"b": "2"}, classifier={"masks_seen": ["voc2012"]})
    assert "masks of voc2012" in finding
    assert "set dataset.name" in leak


def test_labels_of_images_without_a_class_are_no_leak(tmp_path):
    """They are background, like their masks; the label of a cat that equals its mask is a leak."""
    labels = {}
    for name, pixel in {"cat": 1, "other": 1, "none_1": 0, "none_2": 0}.items():
        labels[name] = tmp_path / f"{name}.png"
        write_label(labels[name], np.array([[0, pixel]], np.uint8))
    write_label(tmp_path / "other_mask.png", np.array([[1, 1]], np.uint8))

    def entry(name: str, classes: list[int], mask: str) -> Entry:
        return Entry(name, "", str(tmp_path / mask), classes, 2, 1, "")

    none = [entry("none_1", [], "none_1.png"), entry("none_2", [], "none_2.png")]
    cat, other = entry("cat", [0], "cat.png"), entry("other", [0], "other_mask.png")
    assert labels_equal_to_masks(Index("train", ["cat"], [other, *none]), labels, 1, 1) == []
    (leak,) = labels_equal_to_masks(Index("train", ["cat"], [cat, other, *none]), labels, 0, 1)
    assert "1 of 2 labels equal the ground truth" in leak
