"""Masks from annotated objects: polygons and run lengths of COCO files."""

from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from i2crc.data.images import IGNORE

# Polygons are drawn this many times as large.
FINER = 5
# ... in bands of rows, each with this many of the photograph's pixels, which bounds memory.
BAND = 2**18
# A coordinate may be beyond the photograph, but by no more than this many times its longer side.
FARTHEST = 10


def draw_mask(shapes: list[dict[str, Any]], size: tuple[int, int]) -> np.ndarray:
    """Return the (H, W) uint8 mask of a photograph of (width, height) `size`.

    A shape is {"value", "segmentation", "area", "iscrowd"}; without an area its pixels are counted.
    The smaller of two objects covers the larger one. Crowds are 255 where no object is. Raise
    ValueError for a malformed segmentation.
    """

    def order(shape: dict[str, Any]) -> tuple[bool, float]:
        area = shape.get("area") or np.count_nonzero(_region(shape["segmentation"], size))
        return not shape.get("iscrowd"), -float(area)

    mask = np.zeros(size[::-1], np.uint8)
    for shape in sorted(shapes, key=order):
        value = IGNORE if shape.get("iscrowd") else shape["value"]
        mask[_region(shape["segmentation"], size)] = value
    return mask


def _region(segmentation: Any, size: tuple[int, int]) -> np.ndarray:
    """Return the (H, W) bool region of a list of polygons [x, y, x, y, ...], or of run lengths."""
    if isinstance(segmentation, dict):
        return _from_runs(segmentation, size)
    region = np.zeros(size[::-1], bool)
    for polygon in segmentation:
        points = np.asarray(polygon, np.float64).reshape(-1, 2)
        if not np.isfinite(points).all():
            raise ValueError("a coordinate is not finite")
        farthest = points.flat[np.abs(points).argmax()]
        if abs(farthest) > FARTHEST * max(size):
            photograph = f"a photograph of {size[0]}x{size[1]} pixels"
            raise ValueError(f"a coordinate is {farthest:.10g}, far outside {photograph}")
        low = np.clip(np.floor(points.min(0)), 0, size).astype(int)
        high = np.clip(np.ceil(points.max(0)), 0, size).astype(int)
        if (high <= low).any():
            continue
        # Pillow fills the pixels of the edge, too: draw it larger, and look at the pixels' centres.
        # COCO's pixel 0 is from 0 to 1; Pillow's centre of it is 0.
        width, height = (high - low).tolist()
        # Pillow cuts fractions off; here before the shift, so that each band has the same edges.
        corners = np.trunc(FINER * (points - low) - 0.5)
        rows = max(1, BAND // width)
        for top in range(0, height, rows):
            band = region[low[1] + top : min(low[1] + top + rows, high[1]), low[0] : high[0]]
            image = Image.new("1", (FINER * width, FINER * len(band)))
            shifted = [tuple(corner) for corner in (corners - (0, FINER * top)).tolist()]
            ImageDraw.Draw(image).polygon(shifted, fill=1)
            band |= np.asarray(image)[FINER // 2 :: FINER, FINER // 2 :: FINER]
    return region


def _from_runs(runs: dict[str, Any], size: tuple[int, int]) -> np.ndarray:
    """Return the region of {"size": [h, w], "counts"}: runs of 0, 1, 0, ... down the columns."""
    counts = runs["counts"]
    counts = _decoded_counts(counts) if isinstance(counts, str) else counts
    height, width = runs["size"]
    if (width, height) != size or sum(counts) != height * width or min(counts, default=0) < 0:
        raise ValueError(f"run lengths of {width}x{height} pixels, {sum(counts)} in all")
    values = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return values.reshape(width, height).T


def _decoded_counts(text: str) -> list[int]:
    """Return the run lengths of COCO's compressed text.

    A number is written in groups of 5 bits, the lowest first, plus 48. Bit 5 of a group means that
    another one follows; bit 4 of the last one is the sign. From the fourth number on, the number
    two before is subtracted.
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        group = ord(character) - 48
        value |= (group & 31) << shift
        shift += 5
        if not group & 32:
            if group & 16:
                value -= 1 << shift
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    return counts
