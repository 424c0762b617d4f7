"""Real photographs of VOC 2012 (shared/data beside the repository), where they are there."""

import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from helpers.project import ROOT, run
from helpers.settings import read_config
from i2crc.artifacts.journal import FileRecord
from i2crc.artifacts.manifest import write_manifest
from i2crc.artifacts.provenance import Origin
from i2crc.config.schema import Dataset
from i2crc.data.build_index import build_index
from i2crc.data.images import read_gray
from i2crc.evaluation.saliency_quality import measure_saliency
from i2crc.models.weight_files import U2NETP
from i2crc.runtime.atomic import digest_file, read_json, write_json

CLASSES = read_config(ROOT / "config/voc12-small.yaml").dataset.classes


@pytest.fixture(scope="session")
def voc() -> Path:
    folder = ROOT.parent / "shared/data/voc2012-mini"
    if not folder.is_dir():
        pytest.skip(f"no photographs: {folder} is no folder")
    return folder


@pytest.mark.parametrize("split", ["train", "val"])
def test_classes_in_the_masks_are_those_of_the_list(voc, split):
    by_list, by_masks = (
        build_index(split, voc, Dataset(labels_from=source, classes=CLASSES), Path("none"), 2)
        for source in ("list", "masks")
    )
    assert by_list == by_masks


@pytest.mark.parametrize("limit", [6, pytest.param(None, marks=pytest.mark.exhaustive)])
def test_computed_saliency_maps_are_those_that_are_given(voc, tmp_path, limit):
    """Those were made with another version of onnxruntime."""
    index = build_index("train", voc, Dataset(limit=limit, classes=CLASSES), Path("none"), 2)
    write_json(tmp_path / "train.json", asdict(index))
    command = [
        sys.executable, ROOT / "workflow_scripts/data/compute_saliency.py",
        "--index", tmp_path / "train.json", "--threads", 2,
        "--folder", tmp_path / "computed", "--manifest", tmp_path / "1-of-1.json",
    ]  # fmt: skip
    done = run(command, tmp_path)
    assert done.returncode == 0, done.stderr
    shutil.copytree(voc / "saliency", tmp_path / "given")
    names = [f"{entry.id}.png" for entry in index.images]
    maps = [[read_gray(tmp_path / f / n).astype(int) for n in names] for f in ("computed", "given")]
    # Over all 311: 0.23 on average, 0.87 at most.
    assert max(np.abs(made - given).mean() for made, given in zip(*maps, strict=True)) < 2
    given = dict.fromkeys(names, FileRecord("", 0))
    write_manifest(tmp_path / "given.json", Origin(Path(__file__), []), tmp_path / "given", given)
    qualities = [
        measure_saliency(index, [tmp_path / name], 0.5, 2)["iou"]
        for name in ("1-of-1.json", "given.json")
    ]
    assert qualities[0] == pytest.approx(qualities[1], abs=0.002)
    if limit is None:
        assert qualities[0] == pytest.approx(0.605, abs=0.005)
    network = read_json(tmp_path / "1-of-1.json")["provenance"]["settings"]
    assert {**network, **U2NETP} == network
    assert f"{len(names)} of {len(names)} images were already" in run(command, tmp_path).stderr


def train(voc: Path, folder: Path, supervision: str):
    """Train on eight photographs, with their ground truth given as pseudo labels."""
    index = build_index("train", voc, Dataset(limit=8, classes=CLASSES), Path("none"), 2)
    write_json(folder / "train.json", asdict(index))
    labels = folder / "labels"
    labels.mkdir()
    for entry in index.images:
        shutil.copy(entry.mask, labels)
    files = {p.name: FileRecord(digest_file(p), p.stat().st_size) for p in labels.iterdir()}
    write_manifest(folder / "labels.json", Origin(Path(__file__), []), labels, files)
    settings = {
        "backbone": "efficientnet_lite0", "output_stride": 32, "weights": {"source": "random"},
        "scales": [1.0], "crop_size": 64, "batch_size": 2, "iterations": 1,
        "supervision": supervision,
    }  # fmt: skip
    command = [
        sys.executable, ROOT / "workflow_scripts/segmentation/train_segmentation.py",
        "--settings", json.dumps(settings), "--index", folder / "train.json",
        "--labels", folder / "labels.json", "--run-folder", folder / "run",
        "--weights", folder / "weights.safetensors", "--history", folder / "history.csv",
    ]  # fmt: skip
    return run(command, ROOT)


def test_ground_truth_passed_off_as_pseudo_labels_is_refused(voc, tmp_path):
    done = train(voc, tmp_path, "pseudo")
    assert done.returncode == 1
    assert "8 of 8 labels equal the ground truth" in done.stderr
    assert "segmentation.supervision: full" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.exhaustive
def test_ground_truth_declared_so_is_trained_on(voc, tmp_path):
    done = train(voc, tmp_path, "full")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "weights.safetensors").exists()
