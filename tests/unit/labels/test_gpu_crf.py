"""The dense CRF in PyTorch computes what pydensecrf does."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from i2crc.config.schema import Crf
from i2crc.labels import gpu_crf
from i2crc.labels.dense_crf import crf_label, mean_field
from i2crc.runtime.errors import InputError

PYTORCH = "cpu:0"  # of crf_label: "cpu" is pydensecrf
sides = st.integers(1, 12)
seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)


# Of 1 grey level the picture is constant; of 6 it is as dark as the pixels that fill up a block.
@given(sides, sides, st.integers(1, 6), st.sampled_from([1, 6, 60, 256]), st.data(), seeds)
def test_the_marginals_are_those_of_pydensecrf(height, width, labels, levels, data, random):
    widths = {
        "gaussian_xy": data.draw(st.sampled_from([1, 3])),
        "bilateral_xy": data.draw(st.sampled_from([1, 5, 67])),
        "bilateral_rgb": data.draw(st.sampled_from([1, 3, 13])),
    }
    image = data.draw(st.sampled_from(["real", "legacy"]))
    settings = Crf(engine="pydensecrf", image=image, **widths)
    photo = random.integers(0, levels, (height, width, 3)).astype(np.uint8)
    scores = random.dirichlet(np.ones(labels), (height, width)).astype(np.float32)
    probabilities = np.ascontiguousarray(scores.transpose(2, 0, 1))
    expected = mean_field(photo, probabilities, settings)
    found = gpu_crf.mean_field(photo, probabilities, settings, "cpu")
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize("classes", [None, [], [0, 2]])
@pytest.mark.parametrize("labels", ["all", "likely"])
def test_the_labels_are_those_of_pydensecrf(classes, labels):
    random = np.random.default_rng(0)
    photo = np.repeat(random.integers(0, 256, (6, 1, 3)), 50, axis=1).repeat(7, axis=0)
    photo = (photo * 0.9 + random.integers(0, 25, photo.shape)).astype(np.uint8)
    logits = random.normal(0, 2, (5, 6, 7)).astype(np.float16)
    settings = Crf(engine="pydensecrf", labels=labels, min_probability=0.9)
    expected, marginal = crf_label(photo, logits, settings, classes)
    label, found = crf_label(photo, logits, settings, classes, PYTORCH)
    np.testing.assert_array_equal(label, expected)
    assert label.dtype == expected.dtype
    np.testing.assert_allclose(found, marginal, atol=1e-3)


def test_too_small_widths_are_refused():
    photo = np.random.default_rng(0).integers(0, 256, (9, 9, 3)).astype(np.uint8)
    probabilities = np.full((2, 9, 9), 0.5, np.float32)
    with pytest.raises(InputError, match=r"bilateral_rgb is too small .* runtime.crf_on_gpu"):
        gpu_crf.mean_field(photo, probabilities, Crf(bilateral_rgb=0.01), "cpu")
