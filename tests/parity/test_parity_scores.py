"""Parity of the segmentation scores, with and without 255 in predictions."""

import numpy as np
import pytest

from i2crc.data.images import IGNORE
from i2crc.evaluation.metrics import confusion, scores
from i2crc.runtime.atomic import read_json


def pairs(file) -> list[tuple[np.ndarray, np.ndarray]]:
    arrays = np.load(file)
    return [(arrays[f"gt_{i}"], arrays[f"pred_{i}"]) for i in range(len(arrays.files) // 2)]


def counts(images: list[tuple[np.ndarray, np.ndarray]], num_labels: int) -> np.ndarray:
    return sum(confusion(truth, prediction, num_labels) for truth, prediction in images)


def test_metrics(golden):
    expected = read_json(golden / "metrics.json")
    names = list(expected["Class IoU"])
    total = counts(pairs(golden / "metrics.npz"), len(names))
    found = scores(total, names)
    assert found["pixel_accuracy"] == pytest.approx(expected["Pixel Accuracy"], rel=1e-6)
    assert found["miou"] == pytest.approx(expected["Mean IoU"], rel=1e-6)
    iou = {name: value or 0.0 for name, value in found["iou"].items()}
    assert iou == pytest.approx(expected["Class IoU"], rel=1e-6)
    # No predicted 255 here, so the three conventions agree.
    assert found["miou_255_as_background"] == found["miou_255_as_wrong"] == found["miou"]
    assert found["coverage"] == 1
    # The remaining published scores follow from the counts.
    truth = total.sum(axis=1)
    present = truth > 0
    accuracy = np.diag(total)[present] / truth[present]
    assert accuracy.mean() == pytest.approx(expected["Mean Accuracy"], rel=1e-6)
    weighted = (truth / truth.sum()) @ list(iou.values())
    assert weighted == pytest.approx(expected["Frequency Weighted IoU"], rel=1e-6)


def test_metrics_with_ignored_predictions(golden):
    expected = read_json(golden / "metrics_ignored.json")
    images = pairs(golden / "metrics_ignored.npz")
    values = np.concatenate([image.ravel() for pair in images for image in pair])
    num_labels = 1 + int(values[values != IGNORE].max())
    found = scores(counts(images, num_labels), [str(label) for label in range(num_labels)])
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-6)
