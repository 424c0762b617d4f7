"""Segmentation scores against a count of single pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from i2crc.metrics import confusion, scores

LABELS = 4
NAMES = ["background", "cat", "dog", "cow"]
VALUES = st.sampled_from([0, 1, 2, 3, 255])


@st.composite
def image_pairs(draw):
    shape = (draw(st.integers(1, 5)), draw(st.integers(1, 5)))
    return tuple(draw(arrays(np.uint8, shape, elements=VALUES)) for _ in "tp")


def pixels(truth, prediction) -> list[tuple[int, int]]:
    """(true, predicted) of every pixel whose truth is known."""
    flat = zip(truth.ravel().tolist(), prediction.ravel().tolist(), strict=True)
    return [pair for pair in flat if pair[0] != 255]


def iou(pairs: list[tuple[int, int]], label: int) -> float | None:
    union = sum(label in pair for pair in pairs)
    return sum(pair == (label, label) for pair in pairs) / union if union else None


def miou(pairs: list[tuple[int, int]]) -> float:
    present = {true for true, _ in pairs}
    return sum(iou(pairs, label) for label in present) / len(present) if present else 0.0


@given(st.lists(image_pairs(), min_size=1, max_size=3))
def test_scores_equal_a_count_of_pixels(images):
    pairs = [pair for image in images for pair in pixels(*image)]
    answered = [pair for pair in pairs if pair[1] != 255]
    as_background = [(true, 0 if found == 255 else found) for true, found in pairs]
    found = scores(sum(confusion(*image, LABELS) for image in images), NAMES)
    assert found["miou"] == pytest.approx(miou(answered))
    assert found["miou_255_as_background"] == pytest.approx(miou(as_background))
    assert found["miou_255_as_wrong"] == pytest.approx(miou(pairs))
    hits = sum(true == label for true, label in answered)
    assert found["pixel_accuracy"] == pytest.approx(hits / len(answered) if answered else 0)
    assert found["coverage"] == pytest.approx(len(answered) / len(pairs) if pairs else 0)
    for label, name in enumerate(NAMES):
        assert found["iou"][name] == pytest.approx(iou(answered, label))


@given(image_pairs())
def test_counts_cover_every_pixel_of_known_truth(images):
    counts = confusion(*images, LABELS)
    assert counts.shape == (LABELS, LABELS + 1)
    assert counts.sum() == (images[0] != 255).sum()


def test_conventions_of_predicted_255():
    truth = np.array([[0, 0, 0, 0], [1, 1, 1, 1]], np.uint8)
    prediction = np.array([[0, 0, 0, 255], [1, 1, 255, 0]], np.uint8)
    found = scores(confusion(truth, prediction, 2), ["background", "cat"])
    assert found["miou"] == pytest.approx((3 / 4 + 2 / 3) / 2)
    assert found["miou_255_as_background"] == pytest.approx((4 / 6 + 2 / 4) / 2)
    assert found["miou_255_as_wrong"] == pytest.approx((3 / 5 + 2 / 4) / 2)
    assert found["coverage"] == 6 / 8


def test_class_of_a_prediction_alone_is_no_part_of_the_mean():
    found = scores(confusion(np.zeros((1, 2), int), np.array([[0, 1]]), 3), ["0", "1", "2"])
    assert found["miou"] == 0.5
    assert found["iou"] == {"0": 0.5, "1": 0.0, "2": None}


def test_all_predicted_255():
    found = scores(confusion(np.array([[1, 2]]), np.array([[255, 255]]), LABELS), NAMES)
    assert (found["miou"], found["coverage"]) == (0, 0)
    assert found["iou"] == dict.fromkeys(NAMES)


def test_inputs_are_left_as_they_are():
    truth, prediction = np.array([[1, 255]], np.uint8), np.array([[255, 1]], np.uint8)
    confusion(truth, prediction, 2)
    assert (truth.tolist(), prediction.tolist()) == ([[1, 255]], [[255, 1]])


def test_another_size_is_an_error():
    with pytest.raises(ValueError, match="size"):
        confusion(np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8), 2)


@pytest.mark.parametrize("value", [2, 3, 254])
def test_a_value_that_is_no_label_is_an_error(value):
    good, bad = np.zeros((1, 2), np.uint8), np.array([[0, value]], np.uint8)
    for images in ((bad, good), (good, bad)):
        with pytest.raises(ValueError, match=f"value {value}, but there are 2 labels"):
            confusion(*images, 2)
