"""The CAM classifier: VGG16-CAM (METHOD 6), or the same head on any timm backbone."""

import math

import torch
from torch import nn

from i2crc.config.schema import Classifier
from i2crc.models.backbones import freeze_stages, timm_features, vgg16_features


class CamNet(nn.Module):
    """A backbone, convolutions and a 1x1 classifier whose raw map is the class activation map.

    State-dict keys are the published ones: `features.*` and `extra_convs.*`.
    """

    in_half = False  # whether it predicts in float16

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
            if isinstance(layer, nn.Conv2d) and layer.bias is not None:
                fan_out = layer.kernel_size[0] ** 2 * layer.out_channels
                nn.init.normal_(layer.weight, std=settings.head_std or math.sqrt(2 / fan_out))
                nn.init.zeros_(layer.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the (N, K, h, w) raw maps, which may be negative, of (N, 3, H, W) images."""
        return self.extra_convs(self.features(images))


def class_logits(cam: torch.Tensor) -> torch.Tensor:
    """Return the (N, K) logits of (N, K, h, w) raw maps: the mean over positions (METHOD 7)."""
    return cam.mean(dim=(2, 3))


def build_classifier(settings: Classifier, classes: int) -> CamNet:
    """Return the network of `settings` for `classes` classes, with random weights."""
    features: nn.Module
    if settings.backbone == "vgg16":
        features, channels = vgg16_features(), 512
    else:
        features, channels = timm_features(
            settings.backbone, settings.output_stride, settings.backbone_stage
        )
    freeze_stages(features, settings.freeze_stages)
    return CamNet(features, channels, classes, settings)
