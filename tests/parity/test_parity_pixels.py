"""Parity of the preprocessing and of the dense CRF."""

import numpy as np
import pytest
from PIL import Image

from i2crc.config.schema import Crf
from i2crc.data.transforms import CAFFE_BGR, IMAGENET
from i2crc.labels.dense_crf import dense_crf, legacy_image
from i2crc.data.transforms import resize_photo, resize_saliency

# Images are stored as float16, which rounds by up to 2^-11 of the value.
FLOAT16 = {"rtol": 2**-11, "atol": 1e-2}


@pytest.fixture(scope="module")
def pixels(golden):
    return np.load(golden / "preprocessing.npz")


def test_classifier_image(pixels):
    expected = pixels["classifier_image"]
    square = resize_photo(Image.fromarray(pixels["photo"]), expected.shape[1])
    np.testing.assert_allclose(IMAGENET(np.asarray(square)), expected, **FLOAT16)


def test_classifier_saliency(pixels):
    expected = pixels["classifier_saliency"]
    assert np.array_equal(resize_saliency(pixels["saliency"], len(expected)), expected)


def test_segmentation_image(pixels):
    np.testing.assert_allclose(CAFFE_BGR(pixels["photo"]), pixels["segmentation_image"], **FLOAT16)


def test_legacy_crf_image(pixels):
    assert np.array_equal(legacy_image(pixels["photo"]), pixels["legacy_crf_image"])


def test_dense_crf(golden):
    case = np.load(golden / "dense_crf.npz")
    marginals = dense_crf(case["image"], case["low_logits"][0], Crf())
    assert (marginals.argmax(0) == case["argmax"]).mean() >= 0.9995
    assert np.abs(marginals.max(0) - case["q_max"]).max() <= 5e-4
