"""Segmentation scores against a count of single pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from i2crc.evaluation.metrics import band, boundary_counts, boundary_iou, confusion, scores

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
        assert found["iou_255_as_background"][name] == pytest.approx(iou(as_background, label))


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


def share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


@given(st.lists(image_pairs(), min_size=1, max_size=3))
def test_precision_and_recall_equal_a_count_of_pixels(images):
    pairs = [pair for image in images for pair in pixels(*image) if pair[1] != 255]
    found = scores(sum(confusion(*image, LABELS) for image in images), NAMES)
    for label, name in enumerate(NAMES):
        hits = pairs.count((label, label))
        predicted = sum(guess == label for _, guess in pairs)
        truth = sum(true == label for true, _ in pairs)
        assert found["precision"][name] == pytest.approx(share(hits, predicted))
        assert found["recall"][name] == pytest.approx(share(hits, truth))


@given(image_pairs())
def test_perfect_prediction_scores_one(images):
    truth = images[0]
    found = scores(confusion(truth, truth, LABELS), NAMES)
    known = bool((truth != 255).any())
    for name in ("miou", "miou_255_as_background", "miou_255_as_wrong", "coverage"):
        assert found[name] == known
    assert boundary_iou(boundary_counts(truth, truth, LABELS, 0.02)) == known
    for name in ("iou", "precision", "recall"):
        assert set(found[name].values()) <= {1, None}


def eroded(mask: np.ndarray, distance: int) -> np.ndarray:
    """Pixels whose whole square lies in the mask, one after the other."""
    padded = np.pad(mask, distance)
    side = 2 * distance + 1
    rows, columns = mask.shape
    squares = [
        [padded[y : y + side, x : x + side].all() for x in range(columns)] for y in range(rows)
    ]
    return np.array(squares)


def large_images():
    blocks = arrays(np.uint8, st.tuples(st.integers(1, 4), st.integers(1, 4)), elements=VALUES)
    repeats = st.tuples(st.integers(1, 5), st.integers(1, 5))
    return st.builds(lambda image, by: image.repeat(by[0], 0).repeat(by[1], 1), blocks, repeats)


@given(large_images(), st.integers(1, 6))
def test_band_is_the_mask_without_its_erosion(image, distance):
    found = band(image, distance)
    for label in range(LABELS):
        mask = image == label
        assert (found[mask] == ~eroded(mask, distance)[mask]).all()


@given(large_images(), st.randoms(use_true_random=False), st.floats(0.01, 0.3))
def test_boundary_counts_equal_single_masks(truth, random, width):
    prediction = truth.copy()
    for _ in range(random.randint(0, 3)):
        y, x = random.randrange(truth.shape[0]), random.randrange(truth.shape[1])
        prediction[y:, x:] = random.choice([0, 1, 2, 3, 255])
    found = boundary_counts(truth, prediction, LABELS, width)
    distance = max(1, round(width * (truth.shape[0] ** 2 + truth.shape[1] ** 2) ** 0.5))
    answered = (truth != 255) & (prediction != 255)
    for label in range(LABELS):
        true = truth == label
        predicted = (prediction == label) & (truth != 255)
        bands = [mask & ~eroded(mask, distance) & answered for mask in (true, predicted)]
        expected = [(bands[0] & bands[1]).sum(), bands[0].sum(), bands[1].sum()]
        assert found[:, label].tolist() == expected


@given(image_pairs())
def test_boundary_iou_of_a_label_is_symmetric(images):
    truth, prediction = images
    prediction = np.where(truth == 255, 255, prediction)
    truth = np.where(prediction == 255, 255, truth)
    there = boundary_counts(truth, prediction, LABELS, 0.02)
    back = boundary_counts(prediction, truth, LABELS, 0.02)
    assert there.tolist() == back[[0, 2, 1]].tolist()
    if set(np.unique(truth)) == set(np.unique(prediction)):
        assert boundary_iou(there) == boundary_iou(back)


def test_boundary_iou_sees_a_shift_that_iou_hardly_does():
    truth, shifted = np.zeros((100, 100), np.uint8), np.zeros((100, 100), np.uint8)
    truth[10:90, 10:90] = shifted[13:93, 10:90] = 1
    found = scores(confusion(truth, shifted, 2), ["background", "cat"])
    # The diagonal is 141 pixels, so the bands are 3 wide.
    assert found["miou"] > 0.89
    assert boundary_iou(boundary_counts(truth, shifted, 2, 0.02)) < 0.65
