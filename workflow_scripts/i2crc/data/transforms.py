"""How a network wants its pixels: size, channel order, scale, mean, standard deviation."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image


@dataclass(frozen=True)
class Preprocessing:
    """(pixel / scale - mean) / std, channels in `order`; mean and std in that order too."""

    order: str
    scale: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        if self.order not in ("rgb", "bgr"):
            raise ValueError(f"channel order {self.order!r}, expected rgb or bgr")

    def __call__(self, pixels: np.ndarray) -> torch.Tensor:
        """(H, W, 3) RGB pixels in 0..255, any dtype, to a (3, H, W) float32 tensor."""
        values = torch.from_numpy(np.array(pixels, dtype=np.float32))
        if self.order == "bgr":
            values = values.flip(2)
        values = values.div_(self.scale).sub_(torch.tensor(self.mean)).div_(torch.tensor(self.std))
        return values.permute(2, 0, 1).contiguous()

    def undo(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) network input to RGB in 0..1, to look at."""
        mean, std = (torch.tensor(v)[:, None, None] for v in (self.mean, self.std))
        pixels = (images.cpu() * std + mean) * self.scale / 255
        return (pixels.flip(1) if self.order == "bgr" else pixels).clamp(0, 1)


def preprocessing_from(values: dict[str, Any]) -> Preprocessing:
    """The Preprocessing that `asdict` (or JSON) made `values` of."""
    return Preprocessing(
        values["order"], values["scale"], tuple(values["mean"]), tuple(values["std"])
    )


def preprocessing_values(preprocessing: Preprocessing) -> dict[str, Any]:
    """A JSON-serialisable description."""
    return asdict(preprocessing)


IMAGENET = Preprocessing("rgb", 255.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# EfficientNet-Lite was trained on (pixel - 127) / 128.
LITE = Preprocessing("rgb", 1.0, (127.0, 127.0, 127.0), (128.0, 128.0, 128.0))
# METHOD 19: what published I2CRC segmentation checkpoints expect.
CAFFE_BGR = Preprocessing("bgr", 1.0, (104.008, 116.669, 122.675), (1.0, 1.0, 1.0))


def resize_photo(image: Image.Image, size: int) -> Image.Image:
    """To a size x size square, bilinear with antialias, aspect not kept."""
    return image.resize((size, size), Image.Resampling.BILINEAR)


def resize_saliency(saliency: np.ndarray, size: int) -> np.ndarray:
    """(H, W) uint8 to (size, size) float32 in 0..1; torch's nearest, which PIL's is not."""
    values = torch.from_numpy(saliency.astype(np.float32) / 255)
    return F.interpolate(values[None, None], size=(size, size), mode="nearest")[0, 0].numpy()
