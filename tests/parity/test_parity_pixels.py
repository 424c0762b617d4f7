"""Parity of the preprocessing and of the dense CRF."""

import numpy as np
import pytest
from PIL import Image

from i2crc.config.schema import Crf
from i2crc.data.transforms import CAFFE_BGR, IMAGENET, resize_photo, resize_saliency
from i2crc.labels.dense_crf import dense_crf, legacy_image

# Images are stored as float16, which rounds by up to 2^-11 of the value.
FLOAT16 = {"rtol": 2**-11, "atol": 1e-2}


@pytest.fixture(scope="module")
def pixels(golden):
    return np.load(golden / "preprocessing.npz")


def thinned(image, expected: np.ndarray) -> np.ndarray:
    """Every n-th row and column of a (..., H, W) image, as the reduced set stores only these."""
    image = np.asarray(image)
    step = -(-image.shape[-1] // expected.shape[-1])
    return image[..., ::step, ::step]


def test_classifier_image(pixels):
    expected = pixels["classifier_image"]
    square = resize_photo(Image.fromarray(pixels["photo"]), len(pixels["classifier_saliency"]))
    image = IMAGENET(np.asarray(square))
    np.testing.assert_allclose(thinned(image, expected), expected, **FLOAT16)


def test_classifier_saliency(pixels):
    expected = pixels["classifier_saliency"]
    assert np.array_equal(resize_saliency(pixels["saliency"], len(expected)), expected)


def test_segmentation_image(pixels):
    expected = pixels["segmentation_image"]
    image = CAFFE_BGR(pixels["photo"])
    np.testing.assert_allclose(thinned(image, expected), expected, **FLOAT16)


def test_legacy_crf_image(pixels):
    expected = pixels["legacy_crf_image"].transpose(2, 0, 1)
    image = legacy_image(pixels["photo"]).transpose(2, 0, 1)
    assert np.array_equal(thinned(image, expected), expected)


@pytest.mark.parametrize("engine", ["pydensecrf", "lattice"])
def test_dense_crf(golden, engine):
    case = np.load(golden / "dense_crf.npz")
    marginals = dense_crf(case["image"], case["low_logits"][0], Crf(engine=engine))
    assert (marginals.argmax(0) == case["argmax"]).mean() >= 0.9995
    assert np.abs(thinned(marginals.max(0), case["q_max"]) - case["q_max"]).max() <= 5e-4
