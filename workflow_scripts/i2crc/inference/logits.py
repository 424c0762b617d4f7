"""Logits as files, which the CRF reads without loading a network."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from i2crc.runtime.atomic import atomic_path
from i2crc.runtime.errors import InputError

LARGEST = float(np.finfo(np.float16).max)


def rounded_logits(logits: np.ndarray) -> np.ndarray:
    """Return (..., K+1, h, w) logits as float16.

    Where float16 would overflow, they are reduced by the largest of each pixel, which changes no
    probability. Raise InputError if they are not finite.
    """
    largest = np.abs(logits).max()
    if not np.isfinite(largest):
        raise InputError(
            "the network's output is not finite: train it again with a lower learning rate"
        )
    if largest > LARGEST:
        logits = (logits - logits.max(axis=-3, keepdims=True)).clip(min=-LARGEST)
    return logits.astype(np.float16)


def write_logits(path: Path, logits: np.ndarray) -> None:
    """Write (K+1, h, w) logits, rounded as `rounded_logits` does, deflated (NPZ)."""
    try:
        rounded = rounded_logits(logits)
    except InputError as error:
        raise InputError(f"{path.stem}: {error}") from None
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, logits=rounded)


def read_logits(path: Path) -> np.ndarray:
    """Return the (K+1, h, w) float16 logits of a file; raise InputError if it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return file["logits"]
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(
            f"{path}: no readable logits ({error}); delete its folder and run again"
        ) from error
