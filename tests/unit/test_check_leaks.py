"""The leak guard: each leak is an error that names it, or a finding where it was allowed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from torch import nn

from i2crc.config import Weights
from i2crc.weights import save_weights

ROOT = Path(__file__).parents[2]


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
    """Run check_leaks on a training and a validation list {id: digest}."""

    def run(train: dict, val: dict, *arguments: str, **networks: dict):
        output = tmp_path / "leaks.json"
        weights = {name: Weights(**values).model_dump() for name, values in networks.items()}
        done = subprocess.run(
            [
                sys.executable, ROOT / "workflow_scripts/check_leaks.py",
                "--train", write_index(tmp_path / "train.json", "train", train),
                "--val", write_index(tmp_path / "val.json", "val", val),
                "--weights", json.dumps(weights), "--output", output, *arguments,
            ],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done, json.loads(output.read_text())["findings"] if output.exists() else None

    return run


def test_clean_lists_have_no_findings(check):
    done, findings = check({"a": "1", "b": "2"}, {"c": "3"}, segmentation={})
    assert (done.returncode, findings) == (0, [])


def test_validation_images_in_the_training_list_are_refused_by_name(check):
    done, findings = check({"a": "1", "b": "2"}, {"b": "2", "c": "3"})
    assert (done.returncode, findings) == (1, None)
    assert "1 validation images are in the training list: b" in done.stderr
    assert "evaluation.allow_leaks" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_same_photograph_under_another_name_is_found(check):
    done, _ = check({"a": "1"}, {"z": "1"})
    assert done.returncode == 1
    assert "a.jpg = z.jpg" in done.stderr


def test_weights_declared_to_have_seen_the_masks_are_refused(check):
    seen = {"masks_seen": ["voc2012", "coco"], "name": "DEFAULT"}
    done, _ = check({"a": "1"}, {"b": "2"}, "--dataset-name=voc2012", segmentation=seen)
    assert done.returncode == 1
    assert "segmentation.weights (DEFAULT) have seen ground-truth masks of voc2012" in done.stderr
    done, findings = check({"a": "1"}, {"b": "2"}, "--dataset-name=ade20k", segmentation=seen)
    assert (done.returncode, findings) == (0, [])


def test_weights_of_this_project_that_record_it_are_refused(check, tmp_path):
    file = tmp_path / "ceiling.safetensors"
    save_weights(file, nn.Linear(1, 1), {"masks_seen": ["voc2012"]})
    weights = {"source": "file", "name": str(file)}
    done, _ = check({"a": "1"}, {"b": "2"}, "--dataset-name=voc2012", classifier=weights)
    assert done.returncode == 1
    assert "classifier.weights" in done.stderr


def test_a_data_set_without_a_name_cannot_be_compared(check):
    done, _ = check({"a": "1"}, {"b": "2"}, classifier={"masks_seen": ["voc2012"]})
    assert done.returncode == 1
    assert "dataset.name is empty" in done.stderr


def test_what_is_allowed_is_recorded(check):
    done, findings = check({"a": "1"}, {"a": "1"}, "--allow")
    assert done.returncode == 0
    assert len(findings) == 1
    assert "training list: a" in findings[0]
