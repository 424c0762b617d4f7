"""The doubt in a label."""

import numpy as np
import pytest

from i2crc.report.gallery import label_doubt

SURE = 20.0  # a logit whose class has the probability 1


def logits(*classes: int) -> np.ndarray:
    """(3, 1, N) logits of a network that is sure of one class per pixel."""
    values = np.zeros((3, 1, len(classes)), np.float16)
    values[classes, 0, range(len(classes))] = SURE
    return values


def doubt(label: list[int], prediction: list[int], values: np.ndarray) -> float:
    return label_doubt(np.array([label], np.uint8), np.array([prediction], np.uint8), values)


def test_doubt_is_the_share_of_pixels_that_a_sure_network_contradicts():
    sure = logits(1, 1, 2, 2)
    assert doubt([1, 1, 2, 2], [1, 1, 2, 2], sure) == 0
    assert doubt([1, 0, 2, 2], [1, 1, 2, 2], sure) == pytest.approx(0.25)
    assert doubt([2, 0, 1, 1], [1, 1, 2, 2], sure) == pytest.approx(1)


def test_an_ignored_pixel_is_not_doubted():
    assert doubt([255, 255, 2, 1], [1, 1, 2, 2], logits(1, 1, 2, 2)) == pytest.approx(0.25)


def test_an_unsure_network_doubts_less():
    assert doubt([0, 0], [1, 1], np.zeros((4, 1, 2))) == pytest.approx(0.25)


def test_logits_may_be_coarser_than_the_label():
    assert doubt([0] * 8, [1] * 8, logits(1, 1)) == pytest.approx(1)
