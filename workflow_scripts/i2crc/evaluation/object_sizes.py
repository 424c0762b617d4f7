"""Errors by object size: how much of small, medium and large objects a stage labels rightly."""

from typing import Any

import numpy as np

from i2crc.data.regions import regions

SIZES = ("small", "medium", "large")
# Percent of the photograph's pixels: a region is an object from the first on, an object is medium
# from the second on, and large above the third. Half of the regions of VOC's masks are below the
# first, many of them single pixels: rests of the drawing. One percent is the foreground that a
# label needs to be trained on (METHOD 16).
OBJECT, MEDIUM, LARGE = 0.01, 1, 10


def object_counts(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Return (4, 3) int64 counts per size: objects, those found, their pixels, the right pixels.

    An object is a connected region of a class in the truth. Its size is its share of all pixels of
    the photograph; tiny regions are no objects. It is found if at least half of its pixels have its
    label in the prediction. The (H, W) uint8 images are those that `confusion` accepts. Pixels
    whose truth is 255 belong to no object; pixels predicted 255 are wrong.
    """
    counts = np.zeros((4, len(SIZES)), np.int64)
    for region in regions(truth):
        pixels = int(np.count_nonzero(region.mask))
        percent = 100 * pixels / truth.size
        if percent < OBJECT:
            continue
        height, width = region.mask.shape
        place = np.s_[region.top : region.top + height, region.left : region.left + width]
        right = np.count_nonzero(region.mask & (prediction[place] == region.value))
        size = (percent >= MEDIUM) + (percent > LARGE)
        counts[:, size] += np.array([1, 2 * right >= pixels, pixels, right], np.int64)
    return counts


def object_scores(counts: np.ndarray) -> dict[str, dict[str, Any]]:
    """Return what (4, 3) `object_counts` say of each size: number of objects, and two shares.

    "recall" is the share of the objects' pixels that have the right label, "found" the share of the
    objects that are found. Both are None where there are no objects.
    """
    return {
        size: {
            "objects": objects,
            "recall": right / pixels if objects else None,
            "found": found / objects if objects else None,
        }
        for size, (objects, found, pixels, right) in zip(SIZES, counts.T.tolist(), strict=True)
    }
