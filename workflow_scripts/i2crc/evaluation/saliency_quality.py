"""How well saliency maps, taken as foreground masks, fit the ground truth."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from i2crc.artifacts.manifest import read_manifests
from i2crc.data.images import IGNORE, read_gray, resize_nearest
from i2crc.data.index import Entry, Index
from i2crc.evaluation.ground_truth import compare_with_masks, masked_images
from i2crc.evaluation.metrics import confusion, scores


def measure_saliency(
    index: Index, manifests: Sequence[Path], threshold: float, threads: int
) -> dict[str, Any]:
    """Return the scores of the saliency maps of a split; they are None without a mask.

    "iou", "precision" and "recall" are of all pixels together, "mae" is the mean over the images.
    A pixel is salient from `threshold` (0..1) on. Raise InputError for a mask that does not fit.
    """
    maps = read_manifests(manifests)
    masked, unmasked = masked_images(index)

    def count(entry: Entry, truth: np.ndarray) -> tuple[np.ndarray, float]:
        saliency = resize_nearest(read_gray(maps[f"{entry.id}.png"][0]), entry.own_size)
        return count_pixels(saliency, truth, threshold)

    total, errors = np.zeros((2, 3), np.int64), []
    for counts, error in compare_with_masks(count, masked, threads):
        total += counts
        errors.append(error)
    found = scores(total, ["background", "foreground"])
    known = [error for error in errors if not np.isnan(error)]
    return {
        "images": len(masked),
        "threshold": threshold,
        # Without foreground in any mask, an IoU of 0 would look as if it were measured.
        **{
            name: found[name]["foreground"] if total[1].any() else None
            for name in ("iou", "precision", "recall")
        },
        "mae": sum(known) / len(known) if known else None,
        "images_without_mask": unmasked,
    }


def count_pixels(
    saliency: np.ndarray, truth: np.ndarray, threshold: float
) -> tuple[np.ndarray, float]:
    """Return (2, 3) `confusion` counts and the mean absolute error (NaN without a known pixel).

    The images are (H, W) uint8. Pixels whose truth is 255 are left out; foreground is what is not
    0. A pixel is salient from `threshold` (0..1) times 255 on. Raise ValueError for other sizes.
    """
    known = truth != IGNORE
    foreground = np.where(known, truth != 0, IGNORE)
    counts = confusion(foreground, saliency >= threshold * 255, 2)
    errors = np.abs(saliency[known] / 255 - foreground[known])
    return counts, float(errors.mean()) if errors.size else np.nan
