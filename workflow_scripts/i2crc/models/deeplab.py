"""DeepLabV2 with multi-scale inputs: on ResNet-101 (METHOD 17-18) or on any timm backbone."""

import torch
import torch.nn.functional as F
from torch import nn

from i2crc.config.schema import Segmentation
from i2crc.models.backbones import freeze_stages, resnet101_features, timm_features
from i2crc.models.dilated import DilatedConv2d


class Aspp(nn.Module):
    """Parallel dilated 3x3 convolutions to the classes, summed (METHOD 17)."""

    def __init__(self, channels: int, classes: int, rates: list[int]) -> None:
        super().__init__()
        convs = [DilatedConv2d(channels, classes, 3, padding=r, dilation=r) for r in rates]
        for conv in convs:
            nn.init.normal_(conv.weight, std=0.01)
        self.conv2d_list = nn.ModuleList(convs)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the (N, K+1, h, w) logits of (N, C, h, w) features."""
        return sum(conv(features) for conv in self.conv2d_list)


class DeepLab(nn.Module):
    """A backbone and its ASPP head."""

    def __init__(self, features: nn.Module, classifier: Aspp) -> None:
        super().__init__()
        self.features = features
        self.classifier = classifier

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the (N, K+1, h, w) logits of (N, 3, H, W) images."""
        return self.classifier(self.features(images))


class MultiScale(nn.Module):
    """One network on several input scales (MSC, METHOD 18).

    State-dict keys are the published ones: `base.features.*` and `base.classifier.*`.
    """

    in_half = False  # whether it predicts in float16

    def __init__(self, base: DeepLab, scales: list[float]) -> None:
        super().__init__()
        self.base = base
        self.scales = scales

    def forward(self, images: torch.Tensor) -> list[torch.Tensor] | torch.Tensor:
        """Return the logits of (N, 3, H, W) images.

        In training, a list of one (N, K+1, h, w) tensor per scale, followed by their maximum at
        the size of the first if there are several. In evaluation, only that maximum.
        """
        logits = [self.base(images)]
        for scale in self.scales[1:]:
            logits.append(self.base(_scaled(images, scale)))
        size = logits[0].shape[2:]
        maximum = logits[0]
        for other in logits[1:]:
            resized = F.interpolate(other, size=size, mode="bilinear", align_corners=False)
            maximum = torch.maximum(maximum, resized)
        if not self.training:
            return maximum
        return [*logits, maximum] if len(logits) > 1 else logits


def _scaled(images: torch.Tensor, scale: float) -> torch.Tensor:
    if min(images.shape[2:]) * scale < 1:
        return images  # too small for this scale
    return F.interpolate(images, scale_factor=scale, mode="bilinear", align_corners=False)


def build_segmentation(settings: Segmentation, classes: int) -> MultiScale:
    """Return the network of `settings` for `classes` foreground classes, with random weights."""
    if settings.backbone == "resnet101":
        features, channels = resnet101_features(), 2048
    else:
        features, channels = timm_features(
            settings.backbone, settings.output_stride, settings.backbone_stage
        )
    freeze_stages(features, settings.freeze_stages)
    base = DeepLab(features, Aspp(channels, classes + 1, settings.aspp_rates))
    return MultiScale(base, settings.scales)
