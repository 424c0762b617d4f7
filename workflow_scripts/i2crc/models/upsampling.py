"""Enlarge logits to the size of their image (METHOD 23), in numpy: CRF workers load no torch."""

import numpy as np


def upsample(logits: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return (L, h, w) logits as (L, H, W) float32, bilinear, align_corners false."""
    height, width = size
    return _interpolate(_interpolate(logits.astype(np.float32), width, 2), height, 1)


def _interpolate(values: np.ndarray, length: int, axis: int) -> np.ndarray:
    last = values.shape[axis] - 1
    step = np.float32(last + 1) / np.float32(length)
    places = (np.arange(length, dtype=np.float32) + np.float32(0.5)) * step - np.float32(0.5)
    places = places.clip(0, last)
    below = places.astype(np.intp)
    shares = np.expand_dims(places - below.astype(np.float32), tuple(range(1, values.ndim - axis)))
    lower = values.take(below, axis)
    result = values.take(np.minimum(below + 1, last), axis)
    result -= lower
    result *= shares
    result += lower
    return result
