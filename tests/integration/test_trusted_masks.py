"""Masks drawn by hand, through the stages that make training labels and train on them."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from helpers.project import ROOT, Project, run
from i2crc.artifacts.manifest import read_manifests
from i2crc.data.images import read_label
from i2crc.models.weight_files import read_metadata
from i2crc.report.score_table import warnings
from i2crc.runtime.atomic import digest_file, read_json, write_json

COUNT = 4  # more than evaluation.leak_images


class Trusted:
    """The training images of the finished demo, the first ones of which have trusted masks."""

    def __init__(self, project: Project, folder: Path) -> None:
        self.project, self.folder = project, folder
        index = read_json(project.results / "data/train.json")
        self.masks = {e["id"]: project.folder / e["mask"] for e in index["images"][:COUNT]}
        for entry in index["images"][:COUNT]:
            mask = self.masks[entry["id"]]
            entry |= {"trusted_mask": str(mask), "trusted_sha256": digest_file(mask)}
        write_json(folder / "train.json", index)

    def script(self, name: str, *words):
        command = [sys.executable, ROOT / "workflow_scripts" / name, *words]
        return run(command, self.project.folder)

    def labels(self, name: str, round_name: str, **inputs: Path) -> dict[str, tuple[Path, str]]:
        """Make the labels of a round; return them."""
        manifest = self.folder / round_name / "1-of-1.json"
        given = [word for key, path in inputs.items() for word in (f"--{key}", path)]
        made = ["--folder", self.folder / round_name / "images", "--manifest", manifest]
        done = self.script(name, "--index", self.folder / "train.json", *given, *made)
        assert done.returncode == 0, done.stderr
        return read_manifests([manifest])

    def train(self, index: Path):
        settings = {
            "backbone": "efficientnet_lite0", "output_stride": 32, "weights": {"source": "random"},
            "scales": [1.0], "crop_size": 64, "batch_size": 2, "iterations": 1,
        }  # fmt: skip
        return self.script(
            "segmentation/train_segmentation.py", "--settings", json.dumps(settings),
            "--index", index, "--labels", self.folder / "initial/1-of-1.json",
            "--dataset-name=drawn", "--run-folder", self.folder / "run",
            "--weights", self.folder / "weights.safetensors",
            "--history", self.folder / "history.csv", "--runtime", '{"workers": 0}',
        )  # fmt: skip


@pytest.fixture(scope="module")
def trusted(finished, tmp_path_factory) -> Trusted:
    made = Trusted(finished, tmp_path_factory.mktemp("trusted"))
    results = finished.results
    made.labels(
        "labels/gen_gt.py", "initial",
        cams=results / "cams/1-of-1.json", saliency=results / "saliency/manifest.json",
    )  # fmt: skip
    made.labels(
        "labels/refine_labels.py", "refined",
        predictions=results / "crf/initial/train/1-of-1.json",
        initial=made.folder / "initial/1-of-1.json",
    )  # fmt: skip
    return made


@pytest.mark.parametrize("round_name", ["initial", "refined"])
def test_they_are_the_labels_of_their_photographs_alone(trusted, round_name):
    manifest = f"{round_name}/1-of-1.json"
    made = read_manifests([trusted.folder / manifest])
    before = read_manifests([trusted.project.results / "labels" / manifest])
    assert len(made) == 12
    for name, (path, sha256) in made.items():
        if mask := trusted.masks.get(Path(name).stem):
            assert np.array_equal(read_label(path), read_label(mask))
        else:
            assert sha256 == before[name][1]


@pytest.mark.exhaustive
def test_a_training_on_them_says_so_and_is_no_leak(trusted):
    done = trusted.train(trusted.folder / "train.json")
    assert done.returncode == 0, done.stderr
    weights = trusted.folder / "weights.safetensors"
    metadata = read_metadata(weights)
    assert metadata["supervision"] == {"training_images": 12, "trusted_masks": COUNT}
    assert metadata["masks_seen"] == ["drawn"]
    assert metadata["leaks"] == []
    (sentence,) = warnings(None, [weights], None)
    assert sentence.startswith("4 of 12 training labels are masks drawn by hand")
    model = trusted.folder / "model.safetensors"
    words = "--weights", weights, "--dataset", '{"max_side": 0}', "--output", model
    assert trusted.script("segmentation/pack_model.py", *words).returncode == 0
    assert read_metadata(model)["supervision"] == metadata["supervision"]


@pytest.mark.exhaustive
def test_the_same_labels_without_the_declaration_are_a_leak(trusted):
    done = trusted.train(trusted.project.results / "data/train.json")
    assert done.returncode == 1
    assert "4 of 12 labels equal the ground truth" in done.stderr


def test_the_index_counts_them(trusted, tmp_path):
    project = trusted.project
    shutil.copytree(project.results / "dataset", tmp_path / "dataset")
    hand = tmp_path / "dataset/hand"
    hand.mkdir()
    for mask in trusted.masks.values():
        shutil.copy(mask, hand)
    output = tmp_path / "data/train.json"
    done = trusted.script(
        "data/prepare_data.py", "--split", "train", "--root", tmp_path / "dataset",
        "--settings", json.dumps({"trusted_masks": "hand"}), "--files", "x",
        "--output", output, "--shards", tmp_path / "data/train/1-of-1.json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert read_json(output)["trusted_masks"] == COUNT
    assert f"train: 12 images, 6 classes, {COUNT} trusted masks" in done.stderr
