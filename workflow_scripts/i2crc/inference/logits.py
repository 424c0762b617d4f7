"""Logits as files, which the CRF reads without loading a network."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from i2crc.runtime.atomic import atomic_path
from i2crc.runtime.errors import InputError


def write_logits(path: Path, logits: np.ndarray) -> None:
    """Write (K+1, h, w) logits as float16, deflated (NPZ), by atomic rename."""
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, logits=logits.astype(np.float16))


def read_logits(path: Path) -> np.ndarray:
    """Return the (K+1, h, w) float16 logits of a file; raise InputError if it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return file["logits"]
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(
            f"{path}: no readable logits ({error}); delete its folder and run again"
        ) from error
