"""Photographs that a network takes together, as on a GPU, get the pixels that each gets alone."""

import json
import runpy
import time
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.project import ROOT, Project
from i2crc.artifacts.manifest import read_manifests
from i2crc.artifacts.stages import STAGES
from i2crc.data.index import read_index
from i2crc.inference import prediction
from i2crc.inference.model import load_model
from i2crc.runtime import parallel

SHARD, MOST = "1-of-1.json", 4


@pytest.fixture
def groups(monkeypatch) -> list[int]:
    """The sizes of the groups that the networks take, which are given time to fill."""
    found: list[int] = []

    class Slow(parallel.Together):
        def __init__(self, compute, most: int) -> None:
            def counted(items):
                found.append(len(items))
                time.sleep(0.05)
                return compute(items)

            super().__init__(counted, most)

    monkeypatch.setattr(parallel, "Together", Slow)
    monkeypatch.setitem(prediction.TOGETHER, "cpu", MOST)
    return found


def make(project: Project, stage: str, index: Path, folder: Path, **options) -> dict:
    """Run a stage in this process; return its files."""
    torch_threads = torch.get_num_threads()
    main = runpy.run_path(str(ROOT / "workflow_scripts" / STAGES[stage].script))["main"]
    common = {"folder": folder / "maps", "manifest": folder / SHARD, "threads": 2}
    main(Namespace(index=index, gpus=0, deterministic=False, **common, **options))
    torch.set_num_threads(torch_threads)
    return read_manifests([folder / SHARD])


def check_pixels(made: dict, expected: dict, levels: int) -> None:
    """Check that PNGs differ by at most some levels, and most of them not at all."""
    assert made.keys() == expected.keys() and made
    for name, (path, _) in made.items():
        one, other = (np.asarray(Image.open(file), int) for file in (path, expected[name][0]))
        assert abs(one - other).max() <= levels and (one != other).mean() < 0.001, name


def test_predictions_are_the_same(finished, tmp_path, monkeypatch, groups):
    monkeypatch.chdir(finished.folder)
    folder = finished.results / "predictions/final/val"
    made = make(
        finished, "predict", finished.results / "data/val" / SHARD, tmp_path,
        weights=finished.results / "segmentation/final/weights.safetensors",
        logits=tmp_path / "logits/maps", logits_manifest=tmp_path / "logits" / SHARD, settings="{}",
    )  # fmt: skip
    assert max(groups) > 1
    check_pixels(made, read_manifests([folder / SHARD]), levels=255)


def test_attention_is_the_same_with_scales_and_mirrored(finished, tmp_path, monkeypatch, groups):
    monkeypatch.chdir(finished.folder)
    options = {
        "weights": finished.results / "classifier/weights.safetensors",
        "settings": json.dumps({"scales": [0.5, 1.0], "flip": True}),
    }
    index = finished.results / "data/train" / SHARD
    made = make(finished, "infer_cam", index, tmp_path / "together", **options)
    assert max(groups) > 1
    monkeypatch.setitem(prediction.TOGETHER, "cpu", 1)
    check_pixels(made, make(finished, "infer_cam", index, tmp_path / "alone", **options), levels=1)


def test_scales_and_mirror_images_of_the_stage_are_those_of_the_library(
    finished, tmp_path, monkeypatch
):
    monkeypatch.chdir(finished.folder)
    index = finished.results / "data/val" / SHARD
    make(
        finished, "predict", index, tmp_path,
        weights=finished.results / "segmentation/final/weights.safetensors",
        logits=tmp_path / "logits/maps", logits_manifest=tmp_path / "logits" / SHARD,
        settings=json.dumps({"scales": [0.5, 1.0], "flip": True}),
    )  # fmt: skip
    model = load_model(finished.results, "cpu")
    for entry in read_index(index).images:
        label = model(entry.image, scales=[0.5, 1.0], flip=True).label
        assert np.array_equal(label, np.asarray(Image.open(tmp_path / f"maps/{entry.id}.png")))
