"""The CAM classifier: VGG16-CAM of METHOD 6, or the same head on any timm backbone."""

import math

import timm
import torch
import torchvision
from torch import nn

from i2crc.config import Classifier
from i2crc.files import InputError


class CamNet(nn.Module):
    """A backbone, convolutions and a 1x1 classifier whose raw map is the class activation map.

    State-dict keys are the published ones: `features.*` and `extra_convs.*`.
    """

    def __init__(
        self, features: nn.Module, channels: int, classes: int, settings: Classifier
    ) -> None:
        super().__init__()
        self.features = features
        layers: list[nn.Module] = []
        for _ in range(settings.head_convs):
            layers += [nn.Conv2d(channels, settings.head_channels, 3, padding=1), nn.ReLU()]
            channels = settings.head_channels
        layers.append(nn.Conv2d(channels, classes, 1))
        self.extra_convs = nn.Sequential(*layers)
        for layer in self.extra_convs:
            if isinstance(layer, nn.Conv2d):
                fan_out = layer.kernel_size[0] ** 2 * layer.out_channels
                nn.init.normal_(layer.weight, std=settings.head_std or math.sqrt(2 / fan_out))
                nn.init.zeros_(layer.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) images to the (N, K, h, w) raw maps, negatives included."""
        return self.extra_convs(self.features(images))


def class_logits(cam: torch.Tensor) -> torch.Tensor:
    """(N, K, h, w) raw maps to (N, K) logits: the mean over positions (METHOD 7)."""
    return cam.mean(dim=(2, 3))


def build_classifier(settings: Classifier, classes: int) -> CamNet:
    """The network of `settings` with random weights."""
    if settings.backbone == "vgg16":
        features, channels = vgg16_features(), 512
    else:
        features, channels = timm_features(
            settings.backbone, settings.output_stride, settings.backbone_stage
        )
    return CamNet(features, channels, classes, settings)


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
