"""The published way of labels and scores, plainly from docs/METHOD.md, to compare with ours.

One photograph at a time, with numpy: arrays with a channel for each class in label generation,
32-bit labels in refinement, PNGs with the palette of VOC as Pillow writes them by default.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from i2crc.config.schema import PseudoLabels
from i2crc.data.images import voc_palette

PALETTE = voc_palette().tobytes()


def read(path: Path) -> np.ndarray:
    """Return the pixels of an image file as they are stored."""
    return np.asarray(Image.open(path))


def write(path: Path, label: np.ndarray) -> None:
    """Write an (H, W) uint8 label as a palette PNG."""
    image = Image.fromarray(label)
    image.putpalette(PALETTE)
    image.save(path)


def initial_label(
    attention: dict[int, np.ndarray],
    saliency: np.ndarray,
    num_classes: int,
    settings: PseudoLabels,
) -> np.ndarray:
    """Return the (H, W) uint8 initial label (METHOD 13-16), from a channel for every class."""
    scores = np.zeros((num_classes + 1, *saliency.shape), np.float32)
    scores[0] = 1 - saliency.astype(np.float32) / 255
    doubtful = saliency >= settings.salient_value
    for c, values in attention.items():
        low, high = float(values.min()), float(values.max())
        scores[c + 1] = (values - low) / (high - low + 1e-8)
        doubtful |= scores[c + 1] > settings.object_threshold
    scores[scores < settings.attention_threshold] = 0
    label = scores.argmax(axis=0).astype(np.uint8)
    label[(scores > settings.conflict_threshold).sum(axis=0) > 1] = 255
    label[(label == 0) & doubtful] = 255
    if ((label > 0) & (label < 255)).mean() < settings.min_foreground:
        label[:] = 255
    return label


def refine_label(
    prediction: np.ndarray, initial: np.ndarray, classes: list[int], least: float
) -> np.ndarray:
    """Return the (H, W) uint8 refined label (METHOD 27), class by class; `least` is of step d."""
    label, initial = prediction.astype(np.int32), initial.astype(np.int32)
    for value in np.unique(label):
        if value not in (0, *(c + 1 for c in classes)):
            label[label == value] = 255
    if len(classes) > 1:
        label = np.where((label == 0) & (initial != 0), initial, label)
    if any((label == c + 1).sum() == 0 for c in classes):
        label[label == 0] = 255
    if ((label > 0) & (label < 255)).mean() < least:
        label[:] = 255
    return label.astype(np.uint8)


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
