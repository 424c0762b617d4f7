"""Class activation maps of a photograph, and its 8-bit attention maps (METHOD 12)."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from i2crc.config.schema import Cam
from i2crc.data.images import read_photo
from i2crc.data.index import Entry
from i2crc.data.transforms import Preprocessing, resize_photo
from i2crc.models.cam_classifier import CamNet


@torch.inference_mode()
def class_maps(
    model: CamNet, entry: Entry, size: int, preprocessing: Preprocessing, cam: Cam
) -> torch.Tensor:
    """Return the raw (C, h, w) float32 maps of the image's C classes.

    They are averaged over the scales and mirror images of `cam`. `size` is the classifier's input
    size in pixels.
    """
    photo = read_photo(Path(entry.image))
    device = next(model.parameters()).device
    maps = []
    for scale in cam.scales:
        pixels = np.asarray(resize_photo(photo, round(size * scale)))
        image = preprocessing(pixels)[None].to(device)
        maps.append(model(image)[0, entry.classes])
        if cam.flip:
            maps.append(model(image.flip(3))[0, entry.classes].flip(2))
    largest = max((m.shape[1:] for m in maps), key=lambda shape: shape[0])
    resized = [
        F.interpolate(m[None], size=largest, mode="bilinear", align_corners=False)[0] for m in maps
    ]
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
