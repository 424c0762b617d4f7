"""The bootstrap over images: against weighted confusion matrices, and as an estimate."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from i2crc.evaluation.bootstrap import (
    Bootstrap,
    counts_text,
    image_counts,
    interval,
    read_counts,
    weights,
)
from i2crc.evaluation.metrics import confusion, scores

LABELS = 3
NAMES = ["background", "cat", "dog"]
MATRICES = arrays(np.int64, (LABELS, LABELS + 1), elements=st.integers(0, 9))


def bootstrap(matrices: list[np.ndarray], replicates: int) -> Bootstrap:
    found = Bootstrap(LABELS, replicates)
    for number, matrix in enumerate(matrices):
        found.add(f"image {number}", image_counts(matrix))
    return found


def random_images(number: int) -> list[np.ndarray]:
    """Confusion matrices of images whose predictions are right to very different degrees."""
    rng = np.random.default_rng(0)
    matrices = []
    for _ in range(number):
        truth = rng.integers(0, LABELS, 50).astype(np.uint8)
        wrong = rng.random(50) < rng.random() / 2
        guess = np.where(wrong, rng.integers(0, LABELS, 50), truth).astype(np.uint8)
        matrices.append(confusion(truth, guess, LABELS))
    return matrices


@given(MATRICES)
def test_counts_give_the_iou_of_an_image(matrix):
    hits, truth, predicted, ignored = image_counts(matrix)
    found = scores(matrix, NAMES)
    for label, name in enumerate(NAMES):
        union = truth[label] - ignored[label] + predicted[label] - hits[label]
        expected = hits[label] / union if union else None
        assert found["iou"][name] == pytest.approx(expected)


@given(MATRICES)
def test_counts_survive_their_text(matrix):
    counts = image_counts(matrix)
    text = counts_text(counts)
    assert (read_counts(text, LABELS) == counts).all()
    assert len(text.split()) == np.count_nonzero(counts.any(axis=0))


def test_text_of_counts():
    matrix = np.array([[5, 1, 0, 2], [0, 0, 0, 0], [3, 0, 4, 0]])
    assert counts_text(image_counts(matrix)) == "0:5:8:8:2 1:0:0:1:0 2:4:7:4:0"
    assert counts_text(np.zeros((4, LABELS), int)) == ""


@pytest.mark.parametrize("text", ["0:1:2:3", "0:1:1:1:0:0", "cat"])
def test_text_that_holds_no_counts(text):
    with pytest.raises(ValueError):
        read_counts(text, LABELS)


@given(st.lists(MATRICES, min_size=1, max_size=4))
def test_a_replicate_is_the_score_of_its_drawn_images(matrices):
    found = bootstrap(matrices, 8)
    drawn = np.array([weights(f"image {number}", 8) for number in range(len(matrices))])
    for as_background, name in ((True, "miou_255_as_background"), (False, "miou")):
        mious = found.mious(as_background)
        for replicate in range(8):
            total = np.tensordot(drawn[:, replicate], np.array(matrices), 1)
            if (total if as_background else total[:, :-1]).any():
                assert mious[replicate] == pytest.approx(scores(total, NAMES)[name])
            else:
                assert np.isnan(mious[replicate])


def test_weights_depend_on_the_id_alone():
    assert (weights("a", 100) == weights("a", 100)).all()
    assert (weights("a", 100) != weights("b", 100)).any()
    drawn = np.concatenate([weights(str(number), 1000) for number in range(100)])
    assert drawn.mean() == pytest.approx(1, abs=0.02)
    assert drawn.var() == pytest.approx(1, abs=0.02)


def test_the_order_of_images_changes_nothing():
    matrices = random_images(20)
    forward, backward = Bootstrap(LABELS, 50), Bootstrap(LABELS, 50)
    for number in range(20):
        forward.add(str(number), image_counts(matrices[number]))
        backward.add(str(19 - number), image_counts(matrices[19 - number]))
    assert (forward.mious(as_background=True) == backward.mious(as_background=True)).all()


def test_memory_does_not_grow_with_the_images():
    few, many = bootstrap(random_images(1), 100), bootstrap(random_images(50), 100)
    assert few.sums.nbytes == many.sums.nbytes


def test_spread_is_that_of_drawing_whole_images_again():
    matrices = np.array(random_images(150))
    found = bootstrap(list(matrices), 1000).mious(as_background=True)
    rng = np.random.default_rng(1)
    drawn = rng.multinomial(150, np.full(150, 1 / 150), 1000)
    classic = [
        scores(np.tensordot(row, matrices, 1), NAMES)["miou_255_as_background"] for row in drawn
    ]
    assert found.mean() == pytest.approx(np.mean(classic), abs=0.003)
    assert found.std() == pytest.approx(np.std(classic), rel=0.1)


def test_pairs_cancel_what_the_images_share():
    matrices = random_images(100)
    better = [matrix + np.eye(LABELS, LABELS + 1, dtype=int) for matrix in matrices]
    first, second = (
        bootstrap(matrices, 500).mious(as_background=True),
        bootstrap(better, 500).mious(as_background=True),
    )
    low, high = interval(second - first)
    single = interval(first)
    assert 0 < low < high
    assert high - low < (single[1] - single[0]) / 5


def test_interval():
    values = np.append(np.arange(1001.0), np.nan)
    assert interval(values) == pytest.approx((25, 975))
    assert interval(values, 0.5) == pytest.approx((250, 750))
    assert interval(np.array([np.nan])) is None
