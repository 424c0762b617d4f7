"""Networks that predict in half precision, which only a GPU does, and what is kept in float32."""

import copy

import numpy as np
import pytest
import torch

from i2crc.config.schema import Classifier, Segmentation
from i2crc.data.transforms import IMAGENET
from i2crc.inference.prediction import inference_precision, precision_of, predict_batch
from i2crc.labels.cam import averaged_maps
from i2crc.models.cam_classifier import build_classifier
from i2crc.models.deeplab import build_segmentation

SMALL = {"backbone": "efficientnet_lite0", "backbone_stage": 1}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build_segmentation(Segmentation(**SMALL, aspp_rates=[1, 2]), 2).eval()


@pytest.fixture(scope="module")
def photo():
    return np.random.default_rng(0).integers(256, size=(40, 52, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("setting", "device", "expected"),
    [
        *[(setting, "cuda", "fp16") for setting in ("auto", "bf16", "fp16")],
        *[(setting, "cuda", "fp32") for setting in ("fp32", "tf32")],
        *[(setting, "cpu", "fp32") for setting in ("auto", "bf16", "fp16", "fp32", "tf32")],
    ],
)
def test_only_a_gpu_predicts_in_half_precision_unless_it_is_told_otherwise(
    setting, device, expected
):
    assert inference_precision(setting, torch.device(device)) == expected


def test_deterministic_predictions_are_in_float32():
    torch.use_deterministic_algorithms(True)
    try:
        assert inference_precision("auto", torch.device("cuda")) == "fp32"
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("options", [{}, {"scales": (1.0, 0.5), "flip": True}])
def test_half_precision_changes_little_and_returns_float32(network, photo, options):
    exact = predict_batch(network, [photo, photo[::-1]], IMAGENET, **options)
    half = copy.deepcopy(network).half()
    found = predict_batch(half, [photo, photo[::-1]], IMAGENET, **options)
    assert found.dtype == exact.dtype == np.float32
    assert 0 < np.abs(found - exact).max() < 0.01 * np.abs(exact).max()
    assert (precision_of(network), precision_of(half)) == ("fp32", "fp16")


def test_attention_in_half_precision_is_nearly_the_same(photo):
    torch.manual_seed(0)
    model = build_classifier(Classifier(**SMALL, head_channels=8), 3).eval()
    inputs = [[IMAGENET(photo[:40, :40])]]
    exact = averaged_maps(model, inputs, flip=True)
    found = averaged_maps(model.half(), inputs, flip=True)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, exact, rtol=0.01, atol=0.01 * exact.abs().max().item())


def test_a_network_that_overflows_computes_in_float32(network, photo, caplog):
    large = copy.deepcopy(network)
    for conv in large.base.classifier.conv2d_list:
        conv.bias.data += 4e4  # of which float16 cannot hold the sum
    exact = predict_batch(large, [photo], IMAGENET)
    half = large.half()
    for _ in range(2):
        found = predict_batch(half, [photo], IMAGENET)
        np.testing.assert_allclose(found, exact, rtol=0.01)
    assert precision_of(half) == "fp32"
    assert caplog.text.count("overflows in float16") == 1
