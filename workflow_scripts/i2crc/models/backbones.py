"""Backbones without their classifiers: VGG16, ResNet-101, and the models of timm."""

import timm
import torchvision
from torch import nn

from i2crc.runtime.errors import InputError


def vgg16_features() -> nn.Sequential:
    """VGG16 without batch norm at stride 8: pool4 3x3 stride 1, conv5 dilated by 2, no pool5."""
    layers = list(torchvision.models.vgg16(weights=None).features)[:-1]
    layers[23] = nn.MaxPool2d(3, stride=1, padding=1)
    for index in (24, 26, 28):
        layers[index].dilation = layers[index].padding = (2, 2)
    return nn.Sequential(*layers)


def timm_features(name: str, output_stride: int, stage: int | None) -> tuple[nn.Module, int]:
    """A timm model without pooling and classifier, and its number of channels.

    `stage` cuts it off after that feature map (0: stride 2, 1: stride 4, ...); None keeps it whole.
    """
    if not timm.is_model(name):
        near = (
            ", ".join(timm.list_models(f"*{name.split('_')[0]}*")[:5]) or "see timm.list_models()"
        )
        raise InputError(f"backbone {name!r}: not a timm model; for example {near}")
    whole = {"num_classes": 0, "global_pool": ""}
    cut = {"features_only": True, "out_indices": (stage,), "feature_cls": "getter"}
    try:
        model = timm.create_model(
            name, output_stride=output_stride, **(whole if stage is None else cut)
        )
    except (TypeError, NotImplementedError, AssertionError, IndexError) as error:
        raise InputError(
            f"backbone {name!r} has no output stride {output_stride} with stage {stage}; choose "
            f"others ({error})"
        ) from error
    if stage is None:
        return model, model.num_features
    # Of the one feature map in a list, the map; a wrapping module would rename the weights.
    model.register_forward_hook(lambda module, inputs, output: output[0])
    return model, model.feature_info.channels()[0]


def resnet101_features() -> nn.Module:
    """Torchvision's ResNet-101 at stride 8, dilated from the second block of layer3 and layer4 on.

    Torchvision's own `replace_stride_with_dilation` would also dilate layer4's first block.
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
