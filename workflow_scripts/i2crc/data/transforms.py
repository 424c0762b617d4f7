"""Turn pixels into network input: size, channel order, scale, mean, standard deviation."""

from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from pydantic.dataclasses import dataclass

from i2crc.data.images import CAFFE_MEAN


@dataclass(frozen=True)
class Preprocessing:
    """(pixel / scale - mean) / std; channels, `mean` and `std` are in `order`, "rgb" or "bgr"."""

    order: Literal["rgb", "bgr"]
    scale: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, pixels: np.ndarray) -> torch.Tensor:
        """Return a (3, H, W) float32 tensor of (H, W, 3) RGB pixels in 0..255 of any dtype."""
        values = torch.from_numpy(np.array(pixels, dtype=np.float32))
        if self.order == "bgr":
            values = values.flip(2)
        values = values.div_(self.scale).sub_(torch.tensor(self.mean)).div_(torch.tensor(self.std))
        return values.permute(2, 0, 1).contiguous()

    def undo(self, images: torch.Tensor) -> torch.Tensor:
        """Return (N, 3, H, W) network input as float32 RGB in 0..1, for pictures."""
        mean, std = (torch.tensor(v)[:, None, None] for v in (self.mean, self.std))
        pixels = (images.cpu() * std + mean) * self.scale / 255
        return (pixels.flip(1) if self.order == "bgr" else pixels).clamp(0, 1)


IMAGENET = Preprocessing("rgb", 255.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# EfficientNet-Lite was trained on (pixel - 127) / 128.
LITE = Preprocessing("rgb", 1.0, (127.0, 127.0, 127.0), (128.0, 128.0, 128.0))
# METHOD 19: what published I2CRC segmentation checkpoints expect.
CAFFE_BGR = Preprocessing("bgr", 1.0, CAFFE_MEAN, (1.0, 1.0, 1.0))


def resize_photo(image: Image.Image, size: int) -> Image.Image:
    """Return the image resized to size x size, bilinear with antialias, aspect not kept."""
    return image.resize((size, size), Image.Resampling.BILINEAR)


def resize_saliency(saliency: np.ndarray, size: int) -> np.ndarray:
    """Return an (H, W) uint8 map as (size, size) float32 in 0..1.

    The nearest pixel is chosen as in torch, which differs from PIL.
    """
    values = torch.from_numpy(saliency.astype(np.float32) / 255)
    return F.interpolate(values[None, None], size=(size, size), mode="nearest")[0, 0].numpy()
