"""Scores by object size against a plain flood fill, and the limits of the sizes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from i2crc.evaluation.object_sizes import SIZES, object_counts, object_scores

VALUES = st.sampled_from([0, 1, 2, 3, 255])


@st.composite
def image_pairs(draw):
    """A truth of blocks of pixels, so that there are objects of all sizes, and a prediction."""
    shape = (draw(st.integers(1, 9)), draw(st.integers(1, 9)))
    by = draw(st.integers(1, 4))
    truth = draw(arrays(np.uint8, shape, elements=VALUES)).repeat(by, 0).repeat(by, 1)
    return truth, draw(arrays(np.uint8, truth.shape, elements=VALUES))


def flood(truth: np.ndarray) -> list[tuple[int, set[tuple[int, int]]]]:
    """The objects of an image, each with its label, by a flood fill from pixel to pixel."""
    left = {(int(y), int(x)) for y, x in np.argwhere((truth > 0) & (truth < 255))}
    objects = []
    while left:
        first = left.pop()
        found, reached = {first}, [first]
        while reached:
            y, x = reached.pop()
            beside = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            same = {place for place in beside if truth[place] == truth[first]}
            left -= same
            found |= same
            reached += same
        objects.append((int(truth[first]), found))
    return objects


@given(st.lists(image_pairs(), max_size=3))
def test_counts_and_scores_equal_a_flood_fill(images):
    total = np.zeros((4, 3), np.int64)
    expected = {size: [] for size in SIZES}
    for truth, prediction in images:
        total += object_counts(truth, prediction)
        for label, places in flood(truth):
            percent = 100 * len(places) / truth.size
            size = "small" if percent < 1 else "medium" if percent <= 10 else "large"
            right = sum(prediction[place] == label for place in places)
            expected[size].append((right, len(places)))
    for size, scores in object_scores(total).items():
        objects = expected[size]
        assert scores["objects"] == len(objects)
        if not objects:
            assert (scores["recall"], scores["found"]) == (None, None)
            continue
        right, pixels = (sum(values) for values in zip(*objects, strict=True))
        assert scores["recall"] == pytest.approx(right / pixels)
        found = [right / pixels >= 0.5 for right, pixels in objects]
        assert scores["found"] == pytest.approx(sum(found) / len(objects))


@pytest.mark.parametrize("enlarged", [1, 7])
def test_sizes_are_shares_of_the_photograph(enlarged):
    truth = np.zeros((40, 50), np.uint8)
    truth[0, :19] = 1  # 0.95 %
    truth[2, :20] = 1  # 1 %
    truth[4:8] = 2  # 10 %
    truth[8, 0] = 2  # belongs to the object above: 10.05 %
    truth[10:14] = 3  # 10 %
    truth = truth.repeat(enlarged, 0).repeat(enlarged, 1)
    counts = object_counts(truth, truth)
    assert counts[0].tolist() == counts[1].tolist() == [1, 2, 1]
    pixels = np.array([19, 220, 201]) * enlarged**2
    assert counts[2].tolist() == counts[3].tolist() == pixels.tolist()


def test_single_pixels_of_a_large_photograph_are_no_objects():
    truth = np.zeros((200, 100), np.uint8)
    truth[0, 0] = 1  # 0.005 %
    truth[0, 50:52] = 1  # 0.01 %
    counts = object_counts(truth, truth)
    assert counts.tolist() == [[1, 0, 0], [1, 0, 0], [2, 0, 0], [2, 0, 0]]


def test_ignored_pixels_belong_to_no_object_and_separate_objects():
    truth = np.array([[1, 1, 255, 1, 255, 2]], np.uint8)
    counts = object_counts(truth, np.array([[1, 0, 1, 255, 2, 2]], np.uint8))
    # The first is half right and so found, the second is predicted 255, the third is right.
    assert counts[:, 2].tolist() == [3, 2, 4, 2]
    assert not counts[:, :2].any()
