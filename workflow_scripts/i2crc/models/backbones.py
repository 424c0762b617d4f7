"""Backbones without their classifiers: VGG16, ResNet-101, and the models of timm."""

from collections.abc import Sequence
from typing import Any

import timm
import torch
import torchvision
from torch import nn

from i2crc.models.dilated import replace_dilated
from i2crc.runtime.errors import InputError

# The modules that end the feature maps of the published backbones.
VGG16_STAGES = ("4", "9", "16", "23")
RESNET101_STAGES = ("relu", "layer1", "layer2", "layer3", "layer4")


class Vgg16(nn.Sequential):
    """VGG16, a class of its own so that `memory_format` recognises it."""


def vgg16_features() -> Vgg16:
    """Return VGG16 without batch norm at stride 8.

    Pool4 is 3x3 with stride 1, conv5 is dilated by 2, and pool5 is left out.
    """
    layers = list(torchvision.models.vgg16(weights=None).features)[:-1]
    layers[23] = nn.MaxPool2d(3, stride=1, padding=1)
    for conv in (layers[24], layers[26], layers[28]):
        conv.dilation = conv.padding = (2, 2)
    return Vgg16(*layers)


def timm_features(name: str, output_stride: int, stage: int | None) -> tuple[nn.Module, int]:
    """Return a timm model without pooling and classifier, and its number of channels.

    It ends after the feature map `stage` (0: stride 2, 1: stride 4, ...); None keeps all of it.
    Raise InputError for an unknown model, or one without this output stride or stage.
    """
    if not timm.is_model(name):
        near = (
            ", ".join(timm.list_models(f"*{name.split('_')[0]}*")[:5]) or "see timm.list_models()"
        )
        raise InputError(f"backbone {name!r}: not a timm model; choose one, for example {near}")
    whole: dict[str, Any] = {"num_classes": 0, "global_pool": ""}
    cut: dict[str, Any] = {"features_only": True, "out_indices": (stage,), "feature_cls": "getter"}
    try:
        model: Any = timm.create_model(
            name, output_stride=output_stride, **(whole if stage is None else cut)
        )
    except (TypeError, NotImplementedError, AssertionError, IndexError) as error:
        raise InputError(
            f"backbone {name!r} has no output stride {output_stride} with stage {stage}; choose "
            f"others ({error})"
        ) from error
    replace_dilated(model)
    if stage is None:
        return model, model.num_features
    # The model returns a list of one map. A wrapping module would rename the weights.
    model.register_forward_hook(lambda module, inputs, output: output[0])
    return model, model.feature_info.channels()[0]


def resnet101_features() -> nn.Module:
    """Return torchvision's ResNet-101 at stride 8.

    Layer3 and layer4 are dilated from their second block on. Torchvision's own
    `replace_stride_with_dilation` would also dilate layer4's first block.
    """
    net = torchvision.models.resnet101(weights=None)
    for layer, dilation in ((net.layer3, 2), (net.layer4, 4)):
        layer[0].conv2.stride = layer[0].downsample[0].stride = (1, 1)
        for block in layer[1:]:
            block.conv2.dilation = block.conv2.padding = (dilation, dilation)
    stages = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
    features = nn.Sequential()
    for stage in stages:
        features.add_module(stage, getattr(net, stage))
    return features


def memory_format(model: nn.Module, device: torch.device) -> torch.memory_format:
    """Return the order of values in memory that a network is trained with.

    On a CPU, the gradients of VGG16's large 3x3 convolutions take longer with channels last.
    """
    is_slow = device.type == "cpu" and any(isinstance(m, Vgg16) for m in model.modules())
    return torch.contiguous_format if is_slow else torch.channels_last


def freeze_stages(features: nn.Module, stages: int) -> None:
    """Let a backbone learn nothing up to the end of its feature map `stages`; 0: all of it learns.

    Raise InputError if it has fewer feature maps, or none ends there.
    """
    if not stages:
        return
    ends: Sequence[str]
    if isinstance(features, nn.Sequential):
        ends = VGG16_STAGES if "0" in features._modules else RESNET101_STAGES
    else:
        stages_of: Any = features
        prefix = "model." if hasattr(features, "model") else ""  # of one that is cut off
        ends = [prefix + stage["module"] for stage in stages_of.feature_info]
    if stages > len(ends):
        raise InputError(
            f"freeze_stages is {stages}, the backbone has {len(ends)} feature maps; give fewer"
        )
    reached = False
    for name, module in features.named_modules():  # each before the modules that it contains
        if reached and not name.startswith(f"{ends[stages - 1]}."):
            break
        reached = name == ends[stages - 1] or reached
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad = False
    if not reached:
        raise InputError(
            f"freeze_stages is {stages}, but this feature map does not end with a module of the "
            "backbone; give another number, or 0"
        )
