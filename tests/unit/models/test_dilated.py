"""Dilated convolutions: outputs and gradients are those of nn.Conv2d."""

import copy

import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from i2crc.config.schema import Segmentation
from i2crc.models.backbones import timm_features
from i2crc.models.deeplab import build_segmentation
from i2crc.models.dilated import DilatedConv2d, replace_dilated


@given(
    groups=st.integers(1, 3),
    channels=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    size=st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)),
    kernel=st.sampled_from([1, 3, 5]),
    dilation=st.integers(1, 4),
    bias=st.booleans(),
    channels_last=st.booleans(),
)
def test_outputs_and_gradients_are_those_of_torch(
    groups, channels, size, kernel, dilation, bias, channels_last
):
    inside, outside = (groups * number for number in channels)
    options = {"padding": dilation * (kernel // 2), "dilation": dilation, "groups": groups}
    plain = nn.Conv2d(inside, outside, kernel, bias=bias, dtype=torch.double, **options)
    fast = DilatedConv2d(inside, outside, kernel, bias=bias, dtype=torch.double, **options)
    fast.load_state_dict(plain.state_dict())
    images = torch.randn(size[0], inside, *size[1:], dtype=torch.double)
    if channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    results = []
    for conv in (plain, fast):
        given = images.clone().requires_grad_()
        output = conv(given)
        output.square().sum().backward()
        results.append([output, given.grad, *(p.grad for p in conv.parameters())])
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("frozen", ["weight", "images"])
def test_what_is_frozen_has_no_gradient(frozen):
    conv = DilatedConv2d(4, 4, 3, padding=2, dilation=2, groups=2)
    images = torch.randn(1, 4, 5, 5, requires_grad=frozen == "weight")
    conv.weight.requires_grad_(frozen == "images")
    conv(images).sum().backward()
    assert (conv.weight.grad is None) == (frozen == "weight")
    assert (images.grad is None) == (frozen == "images")


@pytest.mark.parametrize(("groups", "channels"), [(1, 2), (4, 4)])
def test_half_precision(groups, channels):
    """As near to the gradients in float32 as those of torch, whose kernels round as well."""
    conv = DilatedConv2d(4, channels, 3, padding=2, dilation=2, groups=groups)
    images = torch.randn(2, 4, 9, 9, requires_grad=True)
    wanted = torch.randn(2, channels, 9, 9)

    def results(forward, dtype):
        with torch.autocast("cpu", torch.bfloat16, dtype is torch.bfloat16):
            output = forward(conv, images)
        assert output.dtype == dtype
        gradients = torch.autograd.grad(
            (output.float() * wanted).sum(), [images, *conv.parameters()]
        )
        assert {gradient.dtype for gradient in gradients} == {torch.float32}
        return [output.float(), *gradients]

    exact = results(nn.Conv2d.forward, torch.float32)
    found = results(DilatedConv2d.forward, torch.bfloat16)
    for value, expected in zip(found, exact, strict=True):
        assert (value - expected).abs().max() < 0.02 * expected.abs().max()


def test_a_compiled_network_has_the_same_gradients():
    conv = DilatedConv2d(4, 4, 3, padding=2, dilation=2, groups=2)
    images = torch.randn(1, 4, 5, 5)
    conv(images).square().sum().backward()
    expected, conv.weight.grad = conv.weight.grad, None
    torch.compile(conv, backend="aot_eager", fullgraph=True)(images).square().sum().backward()
    torch.testing.assert_close(conv.weight.grad, expected)


def test_convolutions_of_a_backbone():
    """Those that keep the size are replaced; names, weights and drawn numbers stay."""
    torch.manual_seed(0)
    model, _ = timm_features("efficientnet_lite0", 16, None)
    drawn = torch.rand(1)
    fast = [name for name, module in model.named_modules() if isinstance(module, DilatedConv2d)]
    assert fast == [f"blocks.{block}.conv_dw" for block in ("5.1", "5.2", "5.3", "6.0")]
    torch.manual_seed(0)
    plain = timm.create_model("efficientnet_lite0", output_stride=16, num_classes=0, global_pool="")
    assert torch.equal(torch.rand(1), drawn)
    for (name, value), (other, expected) in zip(
        model.state_dict().items(), plain.state_dict().items(), strict=True
    ):
        assert name == other
        assert torch.equal(value, expected)


@pytest.mark.parametrize(
    "options",
    [
        {"padding": 2},
        {"padding": 2, "dilation": 2, "groups": 1},
        {"padding": 1, "dilation": 2},
        {"padding": 2, "dilation": 2, "stride": 2},
        {"padding": 2, "dilation": (2, 1)},
        {"padding": 2, "dilation": 2, "kernel_size": 2},
        {"padding": 2, "dilation": 2, "padding_mode": "reflect"},
    ],
)
def test_others_are_left(options):
    model = nn.Sequential(nn.Conv2d(4, 4, **{"kernel_size": 3, "groups": 2, **options}))
    before = model[0]
    replace_dilated(model)
    assert model[0] is before


def test_a_step_of_the_network_in_each_way():
    settings = Segmentation(backbone="efficientnet_lite0", output_stride=16, aspp_rates=[2, 4])
    model = build_segmentation(settings, 3).double()
    plain = copy.deepcopy(model)
    for module in plain.modules():
        if isinstance(module, DilatedConv2d):
            module.forward = nn.Conv2d.forward.__get__(module)
    images = torch.randn(2, 3, 96, 80, dtype=torch.double)
    for network in (model, plain):
        torch.manual_seed(0)
        sum(logits.square().mean() for logits in network(images)).backward()
    for found, expected in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(found.grad, expected.grad)
