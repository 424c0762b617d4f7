"""How well saliency maps, taken as foreground masks, fit the ground truth."""

from pathlib import Path
from typing import Any

import numpy as np

from i2crc.artifacts.manifest import read_manifests
from i2crc.data.images import IGNORE, read_gray
from i2crc.data.index import Entry, Index
from i2crc.evaluation.ground_truth import masked_images, read_mask
from i2crc.runtime.errors import InputError
from i2crc.runtime.parallel import map_in_order


def measure_saliency(
    index: Index, manifest: Path, threshold: float, threads: int
) -> dict[str, Any]:
    """Return the scores of the saliency maps of a split; they are None without a mask.

    "iou", "precision" and "recall" are of all pixels together, "mae" is the mean over the images.
    A pixel is salient from `threshold` (0..1) on. Raise InputError for a map that is missing or
    does not fit its mask.
    """
    files = read_manifests([manifest])
    scored, unscored = masked_images(index)

    def count(entry: Entry) -> tuple[np.ndarray, float | None]:
        name = f"{entry.id}.png"
        if name not in files:
            raise InputError(f"{name}: not in {manifest}; make or add the map")
        path = files[name][0]
        try:
            return count_pixels(read_gray(path), read_mask(entry), threshold)
        except ValueError as error:
            raise InputError(f"{path}: {error} ({entry.mask}); replace one of them") from error

    total, errors = np.zeros(3, np.int64), []
    for counts, error in map_in_order(count, scored, threads):
        total += counts
        if error is not None:
            errors.append(error)
    both, salient, foreground = total.tolist()
    return {
        "images": len(scored),
        "threshold": threshold,
        "iou": _ratio(both, salient + foreground - both),
        "precision": _ratio(both, salient),
        "recall": _ratio(both, foreground),
        "mae": _ratio(sum(errors), len(errors)),
        "images_without_mask": unscored,
    }


def count_pixels(
    saliency: np.ndarray, truth: np.ndarray, threshold: float
) -> tuple[np.ndarray, float | None]:
    """Return (3,) int64 numbers of pixels, and the mean absolute error (None without a pixel).

    The numbers are of pixels that are both salient and foreground, salient, foreground. The images
    are (H, W) uint8. Pixels whose truth is 255 are left out; foreground is what is not 0. A pixel
    is salient from `threshold` (0..1) times 255 on. Raise ValueError if the sizes differ.
    """
    if saliency.shape != truth.shape:
        raise ValueError(f"size {saliency.shape}, the ground truth has {truth.shape}")
    known = truth != IGNORE
    values, foreground = saliency[known], truth[known] != 0
    salient = values >= threshold * 255
    counts = np.array([(salient & foreground).sum(), salient.sum(), foreground.sum()])
    return counts, float(np.abs(values / 255 - foreground).mean()) if values.size else None


def _ratio(part: float, whole: int) -> float | None:
    return float(part / whole) if whole else None
