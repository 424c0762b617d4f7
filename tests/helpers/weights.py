"""A small network, a model file, comparison of weights, and an object that runs code."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from i2crc.config.schema import Crf, Segmentation
from i2crc.data.images import voc_palette
from i2crc.models.deeplab import build_segmentation
from i2crc.models.weight_files import save_weights

CLASSES = ["cat", "dog"]


class Malicious:
    """Creates a file when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple:
        return Path.touch, (self.trace,)


def network(width: int = 4) -> nn.Module:
    """Return a network of a convolution with `width` channels and its batch norm."""
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width))


def same(first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor]) -> bool:
    """Return whether two state dicts have the same names and values."""
    return first.keys() == second.keys() and all(torch.equal(first[n], second[n]) for n in first)


def write_model_file(path: Path, **changes) -> Path:
    """Write the model file of a small network with random weights; `changes` are of its card."""
    settings = Segmentation(backbone="resnet18", output_stride=32, scales=[1.0])
    torch.manual_seed(0)
    card = {
        "model_file": 1,
        "classes": CLASSES,
        "colors": voc_palette()[:3].tolist(),
        "settings": settings.model_dump(),
        "preprocessing": {"order": "rgb", "scale": 255.0, "mean": [0.5] * 3, "std": [0.2] * 3},
        "max_side": 64,
        "crf": Crf().model_dump(),
        "supervision": {"training_images": 4, "trusted_masks": 0},
        "scores": {"val_prediction": 0.5},
        "provenance": {},
    }
    model = build_segmentation(settings, len(CLASSES))
    save_weights(path, model, {k: v for k, v in {**card, **changes}.items() if v is not None})
    return path
