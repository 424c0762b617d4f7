"""The connected regions of a label: the objects that a label of classes can tell apart."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from i2crc.data.images import IGNORE

# Pixels that touch at a corner belong together.
EIGHT_NEIGHBOURS = np.ones((3, 3))


@dataclass(frozen=True)
class Region:
    """A connected region of a class: its `value` in the label, which is n + 1 for class n.

    `mask` is (h, w) bool, just as large as the region. Its first pixel is row `top`, column `left`
    of the label.
    """

    value: int
    top: int
    left: int
    mask: np.ndarray


def regions(label: np.ndarray) -> Iterator[Region]:
    """Yield the regions of an (H, W) uint8 label, class by class; 0 and 255 belong to none."""
    for value, place in enumerate(ndimage.find_objects(label, IGNORE - 1), 1):
        if place is None:
            continue
        numbers, _ = ndimage.label(label[place] == value, EIGHT_NEIGHBOURS)
        for number, box in enumerate(ndimage.find_objects(numbers), 1):
            top, left = (outer.start + inner.start for outer, inner in zip(place, box, strict=True))
            yield Region(value, top, left, numbers[box] == number)
