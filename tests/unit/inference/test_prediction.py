"""Networks that predict in half precision, which only a GPU does, and what is kept in float32."""

import copy

import numpy as np
import pytest
import torch

from i2crc.config.schema import Classifier, Segmentation
from i2crc.data.transforms import IMAGENET
from i2crc.inference.prediction import precision_of, predict_batch, predicts_in_half
from i2crc.labels.cam import averaged_maps
from i2crc.models.cam_classifier import build_classifier
from i2crc.models.deeplab import build_segmentation

SMALL = {"backbone": "efficientnet_lite0", "backbone_stage": 1}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build_segmentation(Segmentation(**SMALL, aspp_rates=[1, 2]), 2).eval()


def in_half(model):
    """A copy of a network that predicts in float16, as on a GPU."""
    copied = copy.deepcopy(model)
    copied.in_half = True
    return copied


@pytest.fixture(scope="module")
def photo():
    return np.random.default_rng(0).integers(256, size=(40, 52, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("setting", "device", "expected"),
    [
        *[(setting, "cuda", True) for setting in ("auto", "bf16", "fp16")],
        *[(setting, "cuda", False) for setting in ("fp32", "tf32")],
        *[(setting, "cpu", False) for setting in ("auto", "bf16", "fp16", "fp32", "tf32")],
    ],
)
def test_only_a_gpu_predicts_in_half_precision_unless_it_is_told_otherwise(
    setting, device, expected
):
    assert predicts_in_half(setting, torch.device(device)) == expected


def test_deterministic_predictions_are_in_float32():
    torch.use_deterministic_algorithms(True)
    try:
        assert not predicts_in_half("auto", torch.device("cuda"))
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("options", [{}, {"scales": (1.0, 0.5), "flip": True}])
def test_half_precision_changes_little_and_returns_float32(network, photo, options):
    exact = predict_batch(network, [photo, photo[::-1]], IMAGENET, **options)
    half = in_half(network)
    found = predict_batch(half, [photo, photo[::-1]], IMAGENET, **options)
    assert found.dtype == exact.dtype == np.float32
    assert 0 < np.abs(found - exact).max() < 0.01 * np.abs(exact).max()
    assert (precision_of(network), precision_of(half)) == ("fp32", "fp16")


def test_attention_in_half_precision_is_nearly_the_same(photo):
    torch.manual_seed(0)
    model = build_classifier(Classifier(**SMALL, head_channels=8), 3).eval()
    inputs = [[IMAGENET(photo[:40, :40])]]
    exact = averaged_maps(model, inputs, flip=True)
    found = averaged_maps(in_half(model), inputs, flip=True)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, exact, rtol=0.01, atol=0.01 * exact.abs().max().item())


def test_photographs_that_overflow_are_computed_in_float32(network, photo):
    large = copy.deepcopy(network)
    for conv in large.base.classifier.conv2d_list:
        conv.bias.data += 4e4  # of which float16 cannot hold the sum
    exact = predict_batch(large, [photo], IMAGENET)
    np.testing.assert_array_equal(predict_batch(in_half(large), [photo], IMAGENET), exact)
