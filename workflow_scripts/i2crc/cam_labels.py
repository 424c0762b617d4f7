"""The label image that attention maps stand for when they are scored as they are."""

import numpy as np


def label_from_attention(
    attention: np.ndarray, classes: list[int], background: float
) -> np.ndarray:
    """Label (H, W) uint8: the strongest class where that exceeds `background` (0..1), else 0.

    attention (C, H, W) uint8 holds the maps of the 0-based `classes`; a tie goes to the first.
    """
    labels = np.array([c + 1 for c in classes], dtype=np.uint8)
    strongest = labels[attention.argmax(axis=0)]
    return np.where(attention.max(axis=0) > background * 255, strongest, 0).astype(np.uint8)
