"""The published way of labels and scores, plainly from docs/METHOD.md, to compare with ours.

One photograph at a time, with numpy, and arrays with a channel for each class.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from i2crc.config.schema import PseudoLabels


def read(path: Path) -> np.ndarray:
    """Return the pixels of an image file as they are stored."""
    return np.asarray(Image.open(path))


def initial_label(
    attention: dict[int, np.ndarray],
    saliency: np.ndarray,
    num_classes: int,
    settings: PseudoLabels,
) -> np.ndarray:
    """Return the (H, W) uint8 initial label (METHOD 13-16), from a channel for every class."""
    maps = np.zeros((num_classes, *saliency.shape), np.float32)
    for c, values in attention.items():
        low, high = float(values.min()), float(values.max())
        maps[c] = (values - low) / (high - low + 1e-8)
    background = 1 - saliency.astype(np.float32) / 255
    scores = np.concatenate([background[None], maps])
    scores[scores < settings.attention_threshold] = 0
    label = scores.argmax(axis=0).astype(np.uint8)
    label[(scores > settings.conflict_threshold).sum(axis=0) > 1] = 255
    doubtful = (saliency >= settings.salient_value) | (maps > settings.object_threshold).any(axis=0)
    label[(label == 0) & doubtful] = 255
    if ((label > 0) & (label < 255)).mean() < settings.min_foreground:
        label[:] = 255
    return label


def refine_label(
    prediction: np.ndarray, initial: np.ndarray, classes: list[int], num_classes: int, least: float
) -> np.ndarray:
    """Return the (H, W) uint8 refined label (METHOD 27), class by class; `least` is of step d."""
    label = prediction.copy()
    for c in range(num_classes):
        if c not in classes:
            label[label == c + 1] = 255
    if len(classes) > 1:
        missed = (label == 0) & (initial != 0)
        label[missed] = initial[missed]
    for c in classes:
        if not (label == c + 1).any():
            label[label == 0] = 255
    if ((label > 0) & (label < 255)).mean() < least:
        label[:] = 255
    return label


def mean_iou(pairs: list[tuple[Path, Path]], num_labels: int) -> float:
    """Return the mIoU of (mask, label) files without pixels that are 255 in either (METHOD 28)."""
    counts = np.zeros((num_labels, num_labels))
    for mask, label in pairs:
        truth, found = read(mask).flatten().astype(int), read(label).flatten().astype(int)
        valid = (truth < num_labels) & (found < num_labels)
        joint = num_labels * truth[valid] + found[valid]
        counts += np.bincount(joint, minlength=num_labels**2).reshape(num_labels, num_labels)
    hits, truth = np.diag(counts), counts.sum(axis=1)
    union = truth + counts.sum(axis=0) - hits
    return float((hits / np.maximum(union, 1))[truth > 0].mean())
