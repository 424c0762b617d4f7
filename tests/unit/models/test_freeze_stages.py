"""Feature maps that learn nothing: `freeze_stages`."""

import pytest
from torch import nn

from i2crc.models.backbones import freeze_stages, resnet101_features, timm_features, vgg16_features
from i2crc.runtime.errors import InputError

BUILDERS = {
    "vgg16": vgg16_features,
    "resnet101": resnet101_features,
    "efficientnet_lite0": lambda: timm_features("efficientnet_lite0", 16, None)[0],
    "efficientnet_lite0, cut off": lambda: timm_features("efficientnet_lite0", 16, 3)[0],
    "resnet18": lambda: timm_features("resnet18", 16, None)[0],
}


@pytest.mark.parametrize(
    ("backbone", "stages", "first"),
    [
        ("vgg16", 1, "5.weight"),
        ("vgg16", 2, "10.weight"),
        ("resnet101", 1, "layer1.0.conv1.weight"),
        ("resnet101", 3, "layer3.0.conv1.weight"),
        ("efficientnet_lite0", 0, "conv_stem.weight"),
        ("efficientnet_lite0", 2, "blocks.2.0.conv_pw.weight"),
        ("efficientnet_lite0, cut off", 2, "model.blocks.2.0.conv_pw.weight"),
        ("resnet18", 1, "layer1.0.conv1.weight"),
    ],
)
def test_first_parameter_that_learns(backbone, stages, first):
    features: nn.Module = BUILDERS[backbone]()
    freeze_stages(features, stages)
    learn = [name for name, parameter in features.named_parameters() if parameter.requires_grad]
    assert learn[0] == first
    names = [name for name, _ in features.named_parameters()]
    assert learn == names[names.index(first) :]


def test_more_stages_than_there_are():
    with pytest.raises(InputError, match="freeze_stages is 6, the backbone has 5 feature maps"):
        freeze_stages(BUILDERS["resnet18"](), 6)
