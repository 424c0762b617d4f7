"""The networks of docs/METHOD.md (6, 17, 18), of torch's and timm's plain modules.

Their tensors have the names of ours, so that they read the same weight files.
"""

from pathlib import Path

import timm
import torch
import torch.nn.functional as F
import torchvision
from safetensors.torch import load_file
from torch import nn

from i2crc.config.schema import Classifier, Segmentation
from i2crc.data.transforms import Preprocessing
from i2crc.models.weight_files import read_metadata


def vgg16() -> nn.Sequential:
    """Return VGG16 at stride 8: pool4 3x3 with stride 1, conv5 dilated by 2, no pool5."""
    layers = list(torchvision.models.vgg16(weights=None).features)[:-1]
    layers[23] = nn.MaxPool2d(3, stride=1, padding=1)
    for number in (24, 26, 28):
        layers[number] = nn.Conv2d(512, 512, 3, padding=2, dilation=2)
    return nn.Sequential(*layers)


def resnet101() -> nn.Sequential:
    """Return ResNet-101 at stride 8, dilated from the second block of layer3 and layer4 on."""
    net = torchvision.models.resnet101(weights=None)
    for layer, dilation in ((net.layer3, 2), (net.layer4, 4)):
        layer[0].conv2.stride = layer[0].downsample[0].stride = (1, 1)
        for block in layer[1:]:
            block.conv2.dilation = block.conv2.padding = (dilation, dilation)
    features = nn.Sequential()
    for name, module in list(net.named_children())[:-2]:
        features.add_module(name, module)
    return features


def timm_model(name: str, output_stride: int, stage: int | None) -> nn.Module:
    """Return a timm model without its classifier, whole or up to the feature map `stage`."""
    if stage is None:
        return timm.create_model(name, output_stride=output_stride, num_classes=0, global_pool="")
    model = timm.create_model(
        name,
        output_stride=output_stride,
        features_only=True,
        out_indices=(stage,),
        feature_cls="getter",
    )
    model.register_forward_hook(lambda module, inputs, output: output[0])
    return model


class ClassifierNetwork(nn.Module):
    """A backbone, 3x3 convolutions and a 1x1 convolution to the classes."""

    def __init__(self, settings: Classifier, classes: int) -> None:
        super().__init__()
        if settings.backbone == "vgg16":
            self.features = vgg16()
        else:
            self.features = timm_model(
                settings.backbone, settings.output_stride, settings.backbone_stage
            )
        layers: list[nn.Module] = []
        for _ in range(settings.head_convs):
            layers += [nn.LazyConv2d(settings.head_channels, 3, padding=1), nn.ReLU()]
        self.extra_convs = nn.Sequential(*layers, nn.LazyConv2d(classes, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the (N, K, h, w) raw maps of (N, 3, H, W) images."""
        return self.extra_convs(self.features(images))


class DeepLab(nn.Module):
    """A backbone, and dilated convolutions to the classes, which are summed (ASPP)."""

    def __init__(self, settings: Segmentation, classes: int) -> None:
        super().__init__()
        if settings.backbone == "resnet101":
            self.features = resnet101()
        else:
            self.features = timm_model(
                settings.backbone, settings.output_stride, settings.backbone_stage
            )
        rates = settings.aspp_rates
        convs = [nn.LazyConv2d(classes + 1, 3, padding=rate, dilation=rate) for rate in rates]
        self.classifier = nn.ModuleDict({"conv2d_list": nn.ModuleList(convs)})

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the (N, K+1, h, w) logits of (N, 3, H, W) images."""
        features = self.features(images)
        return sum(conv(features) for conv in self.classifier["conv2d_list"])


class SegmentationNetwork(nn.Module):
    """DeepLab on several scales of its input, and the maximum of their logits."""

    def __init__(self, settings: Segmentation, classes: int) -> None:
        super().__init__()
        self.base, self.scales = DeepLab(settings, classes), settings.scales

    def forward(self, images: torch.Tensor) -> list[torch.Tensor] | torch.Tensor:
        """Return the maximum of the scales; in training, the logits of each scale, too."""
        logits = [self.base(images)]
        for scale in self.scales[1:]:
            smaller = F.interpolate(
                images, scale_factor=scale, mode="bilinear", align_corners=False
            )
            logits.append(self.base(smaller))
        size = logits[0].shape[2:]
        enlarged = [F.interpolate(one, size, mode="bilinear") for one in logits[1:]]
        maximum = torch.stack([logits[0], *enlarged]).amax(dim=0)
        if not self.training:
            return maximum
        return [*logits, maximum] if len(logits) > 1 else logits


def load(path: Path, device: str) -> tuple[nn.Module, Classifier | Segmentation, Preprocessing]:
    """Return the network of a weight file, in evaluation mode, its settings and preprocessing."""
    metadata = read_metadata(path)
    classes = len(metadata["classes"])
    if "aspp_rates" in metadata["settings"]:
        settings = Segmentation.model_validate(metadata["settings"])
        model = SegmentationNetwork(settings, classes)
    else:
        settings = Classifier.model_validate(metadata["settings"])
        model = ClassifierNetwork(settings, classes)
    model.load_state_dict(load_file(path))
    return model.to(device).eval(), settings, Preprocessing(**metadata["preprocessing"])
