"""The dense CRF with fewer labels agrees with the full one; logits are enlarged as by torch."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from i2crc.config.schema import Crf
from i2crc.labels.dense_crf import crf_label, dense_crf
from i2crc.models.upsampling import upsample

ALL = Crf(labels="all", bilateral_xy=20, bilateral_rgb=10)
LIKELY = ALL.model_copy(update={"labels": "likely"})
SIZE = 48


@pytest.fixture
def photo() -> np.ndarray:
    """A disc on a background, both with noise."""
    y, x = np.indices((SIZE, SIZE))
    disc = (y - 24) ** 2 + (x - 24) ** 2 < 200
    noise = np.random.default_rng(0).integers(0, 30, (SIZE, SIZE, 3))
    return (noise + np.where(disc, 180, 40)[..., None]).astype(np.uint8)


def logits_of(photo: np.ndarray, scores: dict[int, float], classes: int = 8) -> np.ndarray:
    """Logits with some scores of labels in the disc, and 0 elsewhere and for the background."""
    logits = np.full((classes + 1, SIZE // 8, SIZE // 8), -4.0, np.float32)
    disc = photo[4::8, 4::8, 0] > 120
    logits[0] = 0
    for label, score in scores.items():
        logits[label][disc] = score
    return logits


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(*[st.integers(1, 9)] * 2), st.tuples(*[st.integers(1, 70)] * 2), st.integers(0, 99)
)
def test_logits_are_enlarged_as_by_torch(small, large, seed):
    logits = np.random.default_rng(seed).normal(0, 10, (3, *small)).astype(np.float16)
    tensor = torch.from_numpy(logits.astype(np.float32))[None]
    expected = F.interpolate(tensor, size=large, mode="bilinear", align_corners=False)[0].numpy()
    np.testing.assert_allclose(upsample(logits, large), expected, rtol=1e-5, atol=1e-4)


def test_every_likely_label_is_the_full_crf(photo):
    logits = np.random.default_rng(1).normal(0, 3, (5, 6, 6)).astype(np.float32)
    full = dense_crf(photo, logits, ALL)
    settings = LIKELY.model_copy(update={"min_probability": 0.0})
    for label, marginal in (crf_label(photo, logits, settings), crf_label(photo, logits, ALL)):
        np.testing.assert_array_equal(label, full.argmax(axis=0))
        np.testing.assert_array_equal(marginal, full.max(axis=0))


def test_unlikely_labels_as_one_agree_with_the_full_crf(photo):
    logits = logits_of(photo, {3: 2.0, 5: -0.5, 7: -0.8})
    label, marginal = crf_label(photo, logits, LIKELY)
    full = dense_crf(photo, logits, ALL)
    assert set(np.unique(label)) == {0, 3} and label.dtype == np.uint8
    assert (label == full.argmax(axis=0)).mean() >= 0.999
    np.testing.assert_allclose(marginal, full.max(axis=0), atol=0.02)


def test_a_pixel_of_the_merged_label_gets_its_most_probable_class(photo):
    settings = LIKELY.model_copy(update={"min_probability": 0.9})
    label, _ = crf_label(photo, logits_of(photo, {2: 1.5, 6: 1.9}), settings)
    assert set(np.unique(label)) == {0, 6}
    inside = label == 6
    assert (photo[inside][:, 0] > 120).all() and inside.sum() > 300


def test_many_unlikely_classes_do_not_win_together(photo):
    """Of a network that is unsure everywhere: background is 16 times as likely as any."""
    logits = np.zeros((21, SIZE // 8, SIZE // 8), np.float32)
    logits[0] = np.log(0.45 / 0.0275)
    assert not crf_label(photo, logits, ALL)[0].any()
    assert not crf_label(photo, logits, LIKELY)[0].any()


def test_only_the_own_classes_take_part(photo):
    logits = logits_of(photo, {3: 1.0, 5: 6.0})
    label, marginal = crf_label(photo, logits, LIKELY, [2])
    own = dense_crf(photo, logits[[0, 3]], ALL)
    np.testing.assert_array_equal(label, own.argmax(axis=0) * 3)
    np.testing.assert_array_equal(marginal, own.max(axis=0))


def test_a_photograph_without_classes_is_background(photo):
    label, marginal = crf_label(photo, logits_of(photo, {3: 9.0}), LIKELY, [])
    assert label.shape == (SIZE, SIZE) and not label.any() and (marginal == 1).all()
