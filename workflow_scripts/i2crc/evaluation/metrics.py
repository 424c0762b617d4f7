"""Segmentation scores: from a confusion matrix (METHOD 28), and along the boundaries."""

import math
from typing import Any

import numpy as np

from i2crc.data.images import IGNORE


def confusion(truth: np.ndarray, prediction: np.ndarray, num_labels: int) -> np.ndarray:
    """Return (L, L + 1) int64 counts [true label, predicted label]; the last column is 255.

    Both images are (H, W) uint8 with labels below L = `num_labels`, or 255. Pixels whose truth is
    255 are left out. Raise ValueError for another value, or if the sizes differ.
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"size {prediction.shape}, the ground truth has {truth.shape}")
    pairs = (truth.astype(np.uint16) << 8) + prediction.astype(np.uint8)
    counts = np.bincount(pairs.ravel(), minlength=1 << 16).reshape(256, 256)[:IGNORE]
    for name, sums in (("truth", counts.sum(axis=1)), ("label", counts.sum(axis=0)[:IGNORE])):
        if (found := np.flatnonzero(sums).max(initial=0)) >= num_labels:
            raise ValueError(f"{name} value {found}, but there are {num_labels} labels")
    return counts[:num_labels, [*range(num_labels), IGNORE]]


def scores(counts: np.ndarray, names: list[str]) -> dict[str, Any]:
    """Return the scores of an (L, L + 1) confusion matrix, all in 0..1.

    `names` are the L label names, background first. Means are over the labels in the truth.
    "miou_255_as_background" counts pixels predicted 255 as background, "miou" leaves them out, and
    "miou_255_as_wrong" counts them as a miss of the true label. "iou", "precision" and "recall" per
    label leave them out, "iou_255_as_background" does not. A label without a value has None.
    """
    answered, ignored = counts[:, :-1], counts[:, -1]
    present = counts.sum(axis=1) > 0
    as_background = answered.copy()
    as_background[:, 0] += ignored
    hits, truth = np.diag(answered), answered.sum(axis=1)
    iou = _iou(answered, truth)
    iou_as_background = _iou(as_background, counts.sum(axis=1))
    return {
        "miou": _mean(iou, truth > 0),
        "miou_255_as_background": _mean(iou_as_background, present),
        "miou_255_as_wrong": _mean(_iou(answered, counts.sum(axis=1)), present),
        "coverage": _ratio(answered.sum(), counts.sum()),
        "pixel_accuracy": _ratio(hits.sum(), answered.sum()),
        "iou": _by_name(iou, names),
        "iou_255_as_background": _by_name(iou_as_background, names),
        "precision": _by_name(_shares(hits, answered.sum(axis=0)), names),
        "recall": _by_name(_shares(hits, truth), names),
    }


def boundary_counts(
    truth: np.ndarray, prediction: np.ndarray, num_labels: int, width: float
) -> np.ndarray:
    """Return (3, L) int64 counts per label: pixels in both bands, in the true, in the predicted.

    The band of a label is its mask without the mask's erosion by a square of side 2 d + 1. Here d
    is `width` times the image's diagonal in pixels, at least 1 (Cheng et al., Boundary IoU, CVPR
    2021). The (H, W) uint8 images are those that `confusion` accepts. Pixels whose truth is 255
    belong to no label; pixels predicted 255 are not counted.
    """
    distance = max(1, round(width * math.hypot(*truth.shape)))
    prediction = np.where(truth == IGNORE, IGNORE, prediction)
    counted = prediction != IGNORE
    true_band = band(truth, distance) & counted
    predicted_band = band(prediction, distance) & counted
    both = true_band & predicted_band & (truth == prediction)
    chosen = truth[both], truth[true_band], prediction[predicted_band]
    return np.stack([np.bincount(values, minlength=num_labels) for values in chosen])


def band(label: np.ndarray, distance: int) -> np.ndarray:
    """Return (H, W) bool: pixels with another label, or the image's edge, near them.

    Near means in the square that extends `distance` pixels to each side. The other pixels have
    one label in the whole square: they are what the erosion leaves of their masks. So one pass
    finds the bands of all labels.
    """
    padded = np.pad(label.astype(np.int16), distance, constant_values=-1)
    beside = (padded[:, 1:] != padded[:, :-1]).T
    mixed_rows = _any_of(beside, 2 * distance).T
    columns = padded[:, distance:-distance]
    mixed_columns = _any_of(columns[1:] != columns[:-1], 2 * distance)
    return mixed_columns | _any_of(mixed_rows, 2 * distance + 1)


def boundary_iou(counts: np.ndarray) -> float:
    """Return the mean IoU of (3, L) `boundary_counts`, over the labels with a band in the truth."""
    both, true, predicted = counts
    return _mean(_shares(both, true + predicted - both), true > 0)


def _any_of(flags: np.ndarray, length: int) -> np.ndarray:
    """Return whether any of `length` consecutive flags along the first axis is set."""
    done = 1
    while done < length:
        step = min(done, length - done)
        flags = flags[:-step] | flags[step:]
        done += step
    return flags


def _iou(counts: np.ndarray, truth: np.ndarray) -> np.ndarray:
    hits = np.diag(counts)
    return _shares(hits, truth + counts.sum(axis=0) - hits)


def _shares(parts: np.ndarray, wholes: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return parts / wholes


def _by_name(values: np.ndarray, names: list[str]) -> dict[str, float | None]:
    pairs = zip(names, values, strict=True)
    return {name: None if np.isnan(value) else float(value) for name, value in pairs}


def _mean(values: np.ndarray, chosen: np.ndarray) -> float:
    return float(values[chosen].mean()) if chosen.any() else 0.0


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0
