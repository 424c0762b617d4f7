"""Networks on photographs and their mirror images."""

import torch
from torch import nn


def both_ways(model: nn.Module, images: torch.Tensor, mirrored: bool) -> list[torch.Tensor]:
    """Return the outputs of (N, 3, H, W) images and, if `mirrored`, of their mirror images.

    The latter are mirrored back. A GPU computes both at once, where a CPU would gain nothing.
    """
    views = [images, images.flip(3)] if mirrored else [images]
    if images.is_cuda:
        outputs = list(model(torch.cat(views)).chunk(len(views)))
    else:
        outputs = [model(view) for view in views]
    return [outputs[0], *(output.flip(3) for output in outputs[1:])]
