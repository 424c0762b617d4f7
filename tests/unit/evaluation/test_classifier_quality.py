"""Average precision, and the quality of a classifier measured with it."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from helpers.project import ROOT
from helpers.restored import check_restored
from i2crc.artifacts.stages import STAGES
from i2crc.config.schema import Classifier
from i2crc.data.images import write_label
from i2crc.data.transforms import LITE
from i2crc.evaluation.classifier_quality import average_precision
from i2crc.models.cam_classifier import build_classifier
from i2crc.models.weight_files import save_weights
from i2crc.runtime.atomic import write_json

SCRIPT = ROOT / "workflow_scripts" / STAGES["classifier_quality"].script
CLASSES = ["cat", "dog", "cow"]
SETTINGS = Classifier(
    backbone="efficientnet_lite0", output_stride=32, backbone_stage=0, head_convs=0, input_size=32
)
# Few different scores, so that most rankings have ties.
RANKINGS = st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=1, max_size=12).filter(
    lambda images: any(positive for _, positive in images)
)


def measure(images) -> float:
    scores, positive = zip(*images, strict=True)
    return average_precision(np.array(scores, np.float32), np.array(positive, bool))


def area(images) -> float:
    """The definition, read literally: a threshold at every score, precision made monotone."""
    total = sum(positive for _, positive in images)
    curve = []
    for threshold in sorted({score for score, _ in images}, reverse=True):
        chosen = [positive for score, positive in images if score >= threshold]
        curve.append((sum(chosen) / total, sum(chosen) / len(chosen)))
    result, before = 0.0, 0.0
    for recall, _ in curve:
        result += (recall - before) * max(p for r, p in curve if r >= recall)
        before = recall
    return result


@given(RANKINGS)
def test_average_precision_is_the_area_under_the_monotone_curve(images):
    assert measure(images) == pytest.approx(area(images))


@given(RANKINGS)
def test_order_of_the_images_is_of_no_account(images):
    assert measure(images[::-1]) == measure(sorted(images)) == measure(images)


@given(RANKINGS)
def test_monotone_transformation_changes_nothing(images):
    assert measure([(np.exp(score) * 3 - 7, positive) for score, positive in images]) == measure(
        images
    )


@given(st.integers(1, 8), st.integers(0, 8))
def test_perfect_ranking_has_one(positives, negatives):
    images = [(2 + n, True) for n in range(positives)] + [(-n, False) for n in range(negatives)]
    assert measure(images) == 1


@given(st.lists(st.booleans(), min_size=1, max_size=12).filter(any))
def test_one_score_for_all_has_the_share_of_positives(positive):
    assert measure([(0, value) for value in positive]) == pytest.approx(np.mean(positive))


def test_precision_is_made_monotone():
    images = [(5, False), (4, True), (3, True), (2, False)]
    assert measure(images) == pytest.approx(2 / 3)  # not (1/2 + 2/3) / 2


def test_class_without_positives_has_none():
    assert average_precision(np.array([1.0, 2.0]), np.array([False, False])) is None
    assert average_precision(np.array([]), np.array([], bool)) is None


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Photographs of random colours, labelled by a list, a mask or not at all, and a network."""
    root = tmp_path_factory.mktemp("data")
    draw = np.random.default_rng(0)
    labels = {"a": [0], "b": [0, 1], "c": [1], "d": [], "e": [0], "f": [], "unlabelled": None}
    entries = []
    for name, classes in labels.items():
        color = draw.integers(0, 256, 3)
        pixels = np.clip(color + draw.normal(0, 20, (30, 40, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(root / f"{name}.png")
        mask = None
        if name in ("c", "d"):
            mask, label = str(root / f"{name}_mask.png"), np.full((30, 40), 255)
            label[:9] = 0
            label[9:12] = [c + 1 for c in classes] or 0
            write_label(Path(mask), label)
        entries.append(
            {"id": name, "image": str(root / f"{name}.png"), "mask": mask,
             "classes": None if mask else classes, "width": 40, "height": 30, "sha256": ""}
        )  # fmt: skip
    write_json(root / "index.json", {"split": "val", "classes": CLASSES, "images": entries})
    torch.manual_seed(0)
    model = build_classifier(SETTINGS, len(CLASSES)).eval()
    facts = {"settings": SETTINGS.model_dump(), "classes": CLASSES}
    save_weights(root / "weights.safetensors", model, {**facts, "preprocessing": asdict(LITE)})
    return root, labels, model


def command(root: Path, output: Path) -> list:
    """The script and its arguments."""
    return [
        SCRIPT, "--weights", root / "weights.safetensors",
        "--index", root / "index.json", "--output", output, "--threads", "2",
    ]  # fmt: skip


def quality(*arguments) -> subprocess.CompletedProcess:
    started = [sys.executable, *command(*arguments)]
    return subprocess.run(started, capture_output=True, text=True, check=False)


def test_quality_of_a_network(data, tmp_path):
    root, labels, model = data
    done = quality(root, tmp_path / "quality" / "classifier.json")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "quality" / "classifier.json").read_text())
    assert (found["split"], found["images"]) == ("val", 6)
    assert found["images_without_labels"] == ["unlabelled"]
    assert found["positives"] == {"cat": 3, "dog": 2, "cow": 0}

    rows = []
    for name in "abcdef":
        photo = Image.open(root / f"{name}.png").resize((32, 32), Image.Resampling.BILINEAR)
        with torch.no_grad():
            rows.append(model(LITE(np.asarray(photo))[None]).mean(dim=(2, 3))[0].tolist())
    expected = [
        area([(row[c], c in labels[name]) for name, row in zip("abcdef", rows, strict=True)])
        for c in (0, 1)
    ]
    assert found["average_precision"] == {
        "cat": pytest.approx(expected[0]), "dog": pytest.approx(expected[1]), "cow": None,
    }  # fmt: skip
    assert found["mean_average_precision"] == pytest.approx(np.mean(expected))
    assert list(found)[-1] == "provenance"
    inputs = {Path(name).name for name in found["provenance"]["inputs"]}
    assert inputs == {"weights.safetensors", "index.json"}
    mean = found["mean_average_precision"]
    assert done.stderr.splitlines()[-1].endswith(
        f"classifier on val: mean average precision {mean:.3f} over 6 images"
    )
    output = tmp_path / "quality" / "classifier.json"
    check_restored(command(root, output), [output], tmp_path)
