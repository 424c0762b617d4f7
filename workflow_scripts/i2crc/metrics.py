"""Segmentation scores from a confusion matrix (METHOD 28)."""

from typing import Any

import numpy as np

from i2crc.images import IGNORE


def confusion(truth: np.ndarray, prediction: np.ndarray, num_labels: int) -> np.ndarray:
    """(L, L + 1) int64 counts [true label, predicted label]; the last column is predicted 255.

    Both images are (H, W) uint8 with labels below L = `num_labels` or 255. Pixels whose truth is
    255 are left out. ValueError for another value or for images of different size.
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"size {prediction.shape}, the ground truth has {truth.shape}")
    counted = truth != IGNORE
    rows = truth[counted].astype(np.int64)
    columns = prediction[counted].astype(np.int64)
    for name, values in (("truth", rows), ("label", columns[columns != IGNORE])):
        if values.size and values.max() >= num_labels:
            raise ValueError(f"{name} value {values.max()}, but there are {num_labels} labels")
    columns[columns == IGNORE] = num_labels
    counts = np.bincount(rows * (num_labels + 1) + columns, minlength=num_labels * (num_labels + 1))
    return counts.reshape(num_labels, num_labels + 1)


def scores(counts: np.ndarray, names: list[str]) -> dict[str, Any]:
    """The scores of a (L, L + 1) confusion matrix; means are over the classes in the truth.

    `names` are the L label names, background first. `miou` leaves pixels predicted 255 out; the
    two others take them as background, or as a miss of the true class and a hit of none. The IoU
    of a class that neither the truth nor the prediction has is null.
    """
    answered, ignored = counts[:, :-1], counts[:, -1]
    present = counts.sum(axis=1) > 0
    as_background = answered.copy()
    as_background[:, 0] += ignored
    total = counts.sum()
    iou = _iou(answered, answered.sum(axis=1))
    return {
        "miou": _mean(iou, answered.sum(axis=1) > 0),
        "miou_255_as_background": _mean(_iou(as_background, counts.sum(axis=1)), present),
        "miou_255_as_wrong": _mean(_iou(answered, counts.sum(axis=1)), present),
        "coverage": float(answered.sum() / total) if total else 0.0,
        "pixel_accuracy": _ratio(np.trace(answered), answered.sum()),
        "iou": {
            name: None if np.isnan(value) else float(value)
            for name, value in zip(names, iou, strict=True)
        },
    }


def _iou(counts: np.ndarray, truth: np.ndarray) -> np.ndarray:
    hits = np.diag(counts)
    union = truth + counts.sum(axis=0) - hits
    with np.errstate(invalid="ignore"):
        return hits / union


def _mean(values: np.ndarray, chosen: np.ndarray) -> float:
    return float(values[chosen].mean()) if chosen.any() else 0.0


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0
