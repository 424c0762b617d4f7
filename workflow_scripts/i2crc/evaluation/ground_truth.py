"""The images of a split that have a ground-truth mask, and what is compared with the masks."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np

from i2crc.data.images import read_label
from i2crc.data.index import Entry, Index
from i2crc.runtime.errors import InputError
from i2crc.runtime.parallel import map_in_order

Result = TypeVar("Result")


def masked_images(index: Index) -> tuple[list[Entry], list[str]]:
    """Return the images that have a mask, and the ids of the others."""
    masked = [entry for entry in index.images if entry.mask]
    return masked, [entry.id for entry in index.images if not entry.mask]


def compare_with_masks(
    compare: Callable[[Entry, np.ndarray], Result], masked: Iterable[Entry], threads: int
) -> Iterator[Result]:
    """Yield `compare(image, mask)` of images that have a mask, in their order.

    A mask is (H, W) uint8. Raise InputError if `compare` raises ValueError (the mask does not fit)
    or KeyError (a file is in no manifest).
    """

    def compare_one(entry: Entry) -> Result:
        try:
            return compare(entry, read_label(Path(entry.mask or "")))
        except ValueError as error:
            raise InputError(
                f"{entry.mask}: does not fit what was made of {entry.id}: {error}; replace the mask"
            ) from error
        except KeyError as error:
            raise InputError(
                f"{error.args[0]}: in none of the manifests; run the stage that makes it again"
            ) from error

    return map_in_order(compare_one, masked, threads)
