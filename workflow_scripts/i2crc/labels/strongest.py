"""Which of several channels is the largest at each pixel."""

import numpy as np


def strongest(scores: np.ndarray) -> np.ndarray:
    """Return the (H, W) uint8 number of the largest of (L, H, W) scores, at ties the first.

    This is `scores.argmax(axis=0)`, several times faster.
    """
    largest = scores[0].copy()
    numbers = np.zeros(largest.shape, dtype=np.uint8)
    for number, values in enumerate(scores[1:], 1):
        # The numbers ascend, so the maximum keeps the last channel that was larger.
        np.maximum(numbers, (values > largest) * np.uint8(number), out=numbers)
        np.maximum(largest, values, out=largest)
    return numbers
