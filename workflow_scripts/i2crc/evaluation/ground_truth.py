"""The ground-truth masks of a split: which images have one, and their pixels."""

from pathlib import Path

import numpy as np

from i2crc.data.images import read_label
from i2crc.data.index import Entry, Index
from i2crc.runtime.log import log


def masked_images(index: Index) -> tuple[list[Entry], list[str]]:
    """Return the images that have a mask, and the ids of the others, which are logged."""
    masked = [entry for entry in index.images if entry.mask]
    unmasked = [entry.id for entry in index.images if not entry.mask]
    if unmasked:
        log.info("%d images without a mask are left out: %s", len(unmasked), " ".join(unmasked))
    return masked, unmasked


def read_mask(entry: Entry) -> np.ndarray:
    """Return the (H, W) uint8 mask of an image that has one."""
    return read_label(Path(entry.mask or ""))
