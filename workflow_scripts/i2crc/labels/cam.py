"""Class activation maps of a photograph, and its 8-bit attention maps (METHOD 12)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from i2crc.config.schema import Cam
from i2crc.data.images import read_photo
from i2crc.data.index import Entry
from i2crc.data.transforms import Preprocessing, resize_photo
from i2crc.models.cam_classifier import CamNet
from i2crc.models.mirrored import both_ways


def class_maps(
    model: CamNet, entry: Entry, size: int, preprocessing: Preprocessing, cam: Cam
) -> torch.Tensor:
    """Return the raw (C, h, w) float32 maps of the image's C classes.

    They are averaged over the scales and mirror images of `cam`. `size` is the classifier's input
    size in pixels.
    """
    inputs = scaled_inputs(read_photo(Path(entry.image)), size, preprocessing, cam.scales)
    return averaged_maps(model, [inputs], cam.flip)[0, entry.classes]


def scaled_inputs(
    photo: Image.Image, size: int, preprocessing: Preprocessing, scales: Sequence[float]
) -> list[torch.Tensor]:
    """Return the (3, s, s) input of the classifier for each scale."""
    sides = [round(size * scale) for scale in scales]
    return [preprocessing(np.asarray(resize_photo(photo, side))) for side in sides]


@torch.inference_mode()
def averaged_maps(model: CamNet, inputs: Sequence[list[torch.Tensor]], flip: bool) -> torch.Tensor:
    """Return the raw (N, K, h, w) float32 maps, averaged over scales and mirror images.

    `inputs` are the `scaled_inputs` of N photographs.
    """
    device = next(model.parameters()).device
    maps = []
    for images in zip(*inputs, strict=True):
        maps += both_ways(model, torch.stack(images).to(device), flip)
    largest = max((m.shape[2:] for m in maps), key=lambda shape: shape[0])
    resized = [F.interpolate(m, size=largest, mode="bilinear", align_corners=False) for m in maps]
    return torch.stack(resized).mean(dim=0).cpu()


def attention_maps(cam: torch.Tensor, size: tuple[int, int]) -> np.ndarray:
    """Return the (C, H, W) uint8 attention of (C, h, w) raw maps; `size` is (H, W).

    Each class is scaled by its maximum, in float32. The maps are quantised before the bicubic
    enlargement, whose result is clamped to 0..255.
    """
    positive = cam.float().clamp(min=0)
    scaled = positive / (positive.amax(dim=(1, 2), keepdim=True) + 1e-8)
    levels = (scaled * 255).to(torch.uint8).float()
    enlarged = F.interpolate(levels[None], size=size, mode="bicubic", align_corners=False)[0]
    return enlarged.round().clamp(0, 255).to(torch.uint8).numpy()
