"""From raw class activation maps to 8-bit attention maps of the image's size (METHOD 12)."""

import numpy as np
import torch
import torch.nn.functional as F


def attention_maps(cam: torch.Tensor, size: tuple[int, int]) -> np.ndarray:
    """(C, h, w) raw maps to (C, H, W) uint8 attention, each class by its own maximum.

    Float32 throughout; quantised before the bicubic enlargement, which saturates to 0..255.
    """
    positive = cam.float().clamp(min=0)
    scaled = positive / (positive.amax(dim=(1, 2), keepdim=True) + 1e-8)
    levels = (scaled * 255).to(torch.uint8).float()
    enlarged = F.interpolate(levels[None], size=size, mode="bicubic", align_corners=False)[0]
    return enlarged.round().clamp(0, 255).to(torch.uint8).numpy()
