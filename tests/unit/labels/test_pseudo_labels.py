"""Label generation and refinement: what every step of METHOD 13-16 and 27 guarantees."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from i2crc.config.schema import PseudoLabels
from i2crc.labels.pseudo_labels import initial_label, label_from_attention, refine_label

K = 4
LEVELS = st.sampled_from([0, 1, 31, 32, 76, 77, 127, 128, 178, 179, 229, 230, 255])
SHAPES = st.tuples(st.integers(1, 5), st.integers(1, 5))
CLASSES = st.lists(st.integers(0, K - 1), min_size=1, max_size=3, unique=True).map(sorted)
# Without step 16, which would hide the others.
KEEP_ALL = PseudoLabels(min_foreground=0)


@st.composite
def images(draw):
    """Attention, saliency and classes of one image; a class may lack its map."""
    shape, classes = draw(SHAPES), draw(CLASSES)
    level_maps = arrays(np.uint8, shape, elements=LEVELS)
    attention = {c: draw(level_maps) for c in classes if draw(st.integers(0, 4))}
    return attention, draw(level_maps), classes


FRACTIONS = st.sampled_from([0, 0.01, 0.1, 0.3, 0.5, 0.9, 1])
THRESHOLDS = st.builds(
    PseudoLabels,
    attention_threshold=FRACTIONS,
    conflict_threshold=FRACTIONS,
    object_threshold=FRACTIONS,
    salient_value=LEVELS,
    min_foreground=FRACTIONS,
)


@st.composite
def predictions(draw):
    """A prediction, an initial label and the classes of one image."""
    shape, classes = draw(SHAPES), draw(CLASSES)
    own = [0, 255, *(c + 1 for c in classes)]
    prediction = arrays(np.uint8, shape, elements=st.sampled_from([*own, *range(K + 1)]))
    initial = arrays(np.uint8, shape, elements=st.sampled_from(own))
    return draw(prediction), draw(initial), classes


def channels(attention, saliency) -> np.ndarray:
    """(K + 1, H, W) scores before the threshold, background first (METHOD 13)."""
    scores = np.zeros((K + 1, *saliency.shape), np.float32)
    scores[0] = 1 - saliency.astype(np.float32) / 255
    for c, values in attention.items():
        low, high = float(values.min()), float(values.max())
        scores[c + 1] = (values - low) / (high - low + 1e-8)
    return scores


def published_label(attention, saliency, settings) -> np.ndarray:
    """METHOD 13-16 step by step, with a channel for every class that there is."""
    scores = channels(attention, saliency)
    is_object = (scores[1:] > settings.object_threshold).any(axis=0)
    scores[scores < settings.attention_threshold] = 0
    label = scores.argmax(axis=0).astype(np.uint8)
    label[(scores > settings.conflict_threshold).sum(axis=0) > 1] = 255
    label[(label == 0) & (is_object | (saliency >= settings.salient_value))] = 255
    if ((label != 0) & (label != 255)).sum() < settings.min_foreground * label.size:
        label[:] = 255
    return label


def share_of_foreground(label) -> float:
    return ((label != 0) & (label != 255)).mean()


@given(images(), THRESHOLDS, st.randoms(use_true_random=False))
def test_channels_of_absent_classes_change_nothing(image, settings, random):
    attention, saliency, classes = image
    shuffled = random.sample(classes, len(classes))
    label = initial_label(attention, saliency, shuffled, settings)
    assert np.array_equal(label, published_label(attention, saliency, settings))


def test_maps_of_other_classes_are_not_used():
    maps = {1: np.array([[9, 0]], np.uint8), 3: np.array([[0, 9]], np.uint8)}
    saliency = np.full((1, 2), 255, np.uint8)
    assert initial_label(maps, saliency, [1], KEEP_ALL).tolist() == [[2, 255]]


@given(images())
def test_initial_label_shows_the_images_classes_alone(image):
    _, saliency, classes = image
    label = initial_label(*image, PseudoLabels())
    assert (label.shape, label.dtype) == (saliency.shape, np.uint8)
    assert set(np.unique(label)) <= {0, 255, *(c + 1 for c in classes)}


@given(images())
def test_foreground_has_the_highest_score_and_enough_of_it(image):
    attention, saliency, _ = image
    label, scores = initial_label(*image, KEEP_ALL), channels(attention, saliency)
    scores[scores < 0.3] = 0
    for y, x in np.argwhere((label != 0) & (label != 255)):
        own = scores[label[y, x], y, x]
        assert own >= 0.3
        assert (scores[: label[y, x], y, x] < own).all()  # a tie goes to the lowest
        assert (scores[label[y, x] :, y, x] <= own).all()


@given(images())
def test_conflicts_are_ignored(image):
    attention, saliency, _ = image
    label = initial_label(*image, KEEP_ALL)
    conflict = (channels(attention, saliency) > 0.9).sum(axis=0) > 1
    assert (label[conflict] == 255).all()


@given(images())
def test_background_is_neither_salient_nor_an_object(image):
    attention, saliency, _ = image
    background = initial_label(*image, KEEP_ALL) == 0
    assert (saliency[background] < 32).all()
    assert (channels(attention, saliency)[1:, background] <= 0.5).all()


def test_attention_of_exactly_a_half_is_no_object():
    attention, saliency = np.array([[0, 127, 128, 254]], np.uint8), np.zeros((1, 4), np.uint8)
    assert initial_label({0: attention}, saliency, [0], KEEP_ALL).tolist() == [[0, 0, 255, 255]]


@given(images())
def test_only_conflicts_and_doubtful_background_are_ignored(image):
    attention, saliency, _ = image
    ignored = initial_label(*image, KEEP_ALL) == 255
    scores = channels(attention, saliency)
    conflict = (scores > 0.9).sum(axis=0) > 1
    doubtful = (saliency >= 32) | (scores[1:] > 0.5).any(axis=0)
    assert (conflict | doubtful)[ignored].all()


@pytest.mark.parametrize(("shape", "kept"), [((10, 10), True), ((10, 11), False)])
def test_little_foreground_ignores_the_image(shape, kept):
    attention, saliency = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    attention[0, 0] = saliency[0, 0] = 255
    label = initial_label({2: attention}, saliency, [2], PseudoLabels())
    assert label[0, 0] == (3 if kept else 255)
    assert (label[1:] == (0 if kept else 255)).all()


@given(images())
def test_initial_label_has_foreground_or_is_ignored(image):
    label = initial_label(*image, PseudoLabels())
    assert (label == 255).all() or share_of_foreground(label) >= 0.01


def test_thresholds_are_settings():
    attention = np.array([[255, 100, 0]], np.uint8)
    saliency = np.array([[255, 255, 0]], np.uint8)

    def label(**values):
        settings = PseudoLabels(**values)
        return initial_label({0: attention}, saliency, [0], settings).tolist()

    assert label() == [[1, 1, 0]]
    assert label(attention_threshold=0.5) == [[1, 255, 0]]
    assert label(attention_threshold=0.5, salient_value=0) == [[1, 255, 255]]
    assert label(min_foreground=0.9) == [[255, 255, 255]]


@given(images(), FRACTIONS)
def test_strongest_attention_above_the_background_wins(image, background):
    attention, saliency, _ = image
    label = label_from_attention(attention, saliency.shape, background)
    assert (label.shape, label.dtype) == (saliency.shape, np.uint8)
    for y, x in np.ndindex(label.shape):
        own = {c: int(values[y, x]) for c, values in attention.items()}
        strongest = max(own, key=lambda c: own[c], default=0)
        wins = own.get(strongest, 0) > background * 255
        assert label[y, x] == (strongest + 1 if wins else 0)


def test_an_image_without_a_class_is_background_everywhere():
    salient = np.full((2, 3), 255, np.uint8)
    prediction = np.array([[0, 1, 2], [3, 255, 0]], np.uint8)
    none = np.zeros((2, 3), np.uint8)
    for label in (
        initial_label({}, salient, [], PseudoLabels()),
        refine_label(prediction, salient, [], 0.01),
        label_from_attention({}, (2, 3), 0.2),
    ):
        assert label.dtype == np.uint8
        assert np.array_equal(label, none)


@given(predictions())
def test_refinement_invents_nothing(image):
    prediction, initial, classes = image
    refined = refine_label(*image, 0.01)
    assert set(np.unique(refined)) <= {0, 255, *(c + 1 for c in classes)}
    assert ((refined == 255) | (refined == prediction) | (refined == initial)).all()


@given(predictions())
def test_predicted_foreign_classes_are_ignored(image):
    prediction, _, classes = image
    foreign = ~np.isin(prediction, [0, *(c + 1 for c in classes)])
    assert (refine_label(*image, 0)[foreign] == 255).all()


@given(predictions())
def test_predicted_own_classes_are_kept(image):
    prediction, _, classes = image
    own = np.isin(prediction, [c + 1 for c in classes])
    assert np.array_equal(refine_label(*image, 0)[own], prediction[own])


@given(predictions())
def test_missed_objects_return_where_there_are_several_classes(image):
    prediction, initial, classes = image
    refined = refine_label(*image, 0)
    missed = (prediction == 0) & (initial != 0)
    if len(classes) > 1:
        assert np.array_equal(refined[missed], initial[missed])
    else:
        assert np.isin(refined[missed], [0, 255]).all()


@given(predictions())
def test_absent_class_ignores_the_background(image):
    _, _, classes = image
    refined = refine_label(*image, 0)
    absent = set(classes) - {int(value) - 1 for value in np.unique(refined)}
    assume(absent)
    assert not (refined == 0).any()


@given(predictions())
def test_complete_prediction_keeps_its_background(image):
    prediction, initial, classes = image
    assume(np.isin([c + 1 for c in classes], prediction).all())
    sure = (prediction == 0) & (initial == 0)
    assert (refine_label(*image, 0)[sure] == 0).all()


@given(predictions())
def test_refined_label_has_foreground_or_is_ignored(image):
    refined = refine_label(*image, 0.3)
    assert (refined == 255).all() or share_of_foreground(refined) >= 0.3


@given(predictions())
def test_inputs_are_left_as_they_are(image):
    before = [values.copy() for values in image[:2]]
    refine_label(*image, 0.01)
    assert all(np.array_equal(old, new) for old, new in zip(before, image[:2], strict=True))
