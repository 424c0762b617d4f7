"""The doubt in a label."""

import numpy as np
import pytest

from i2crc.labels.pseudo_labels import refine_label
from i2crc.report.gallery import label_doubt

SURE = 20.0  # a logit whose class has the probability 1


def logits(*classes: int) -> np.ndarray:
    """(3, 1, N) logits of a network that is sure of one class per pixel."""
    values = np.zeros((3, 1, len(classes)), np.float16)
    values[classes, 0, range(len(classes))] = SURE
    return values


def doubt(
    label: list[int], prediction: list[int], values: np.ndarray, classes: tuple[int, ...] = (0, 1)
) -> float:
    pixels = (np.array([one], np.uint8) for one in (label, prediction))
    return label_doubt(*pixels, values, classes)


def test_doubt_is_the_share_of_pixels_that_a_sure_network_contradicts():
    sure = logits(1, 1, 2, 2)
    assert doubt([1, 1, 2, 2], [1, 1, 2, 2], sure) == 0
    assert doubt([1, 0, 2, 2], [1, 1, 2, 2], sure) == pytest.approx(0.25)
    assert doubt([2, 0, 1, 1], [1, 1, 2, 2], sure) == pytest.approx(1)


def test_an_ignored_pixel_is_doubted_only_for_a_class_that_the_photograph_does_not_have():
    label, prediction, sure = [255, 255, 2, 1], [0, 1, 2, 2], logits(0, 1, 2, 2)
    assert doubt(label, prediction, sure) == pytest.approx(0.25)
    assert doubt(label, prediction, sure, classes=(1,)) == pytest.approx(0.5)


def test_a_photograph_with_the_wrong_class_is_doubted():
    cat, dog = 0, 1
    prediction = np.array([[0, 0, 0, dog + 1]], np.uint8)
    label = refine_label(prediction, np.zeros_like(prediction), [cat], min_foreground=0.01)
    assert (label == 255).all()
    sure = logits(0, 0, 0, dog + 1)
    assert label_doubt(label, prediction, sure, [cat]) == pytest.approx(0.25)


def test_an_unsure_network_doubts_less():
    assert doubt([0, 0], [1, 1], np.zeros((4, 1, 2))) == pytest.approx(0.25)


def test_logits_may_be_coarser_than_the_label():
    assert doubt([0] * 8, [1] * 8, logits(1, 1)) == pytest.approx(1)
