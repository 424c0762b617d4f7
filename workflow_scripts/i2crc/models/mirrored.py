"""Networks on photographs and their mirror images."""

import torch
from torch import nn


def both_ways(model: nn.Module, images: torch.Tensor, mirrored: bool) -> list[torch.Tensor]:
    """Return the float32 outputs of (N, 3, H, W) images and, if `mirrored`, of their mirror images.

    The latter are mirrored back. A GPU computes both at once, where a CPU would gain nothing.
    """
    views = [images, images.flip(3)] if mirrored else [images]
    batches = [torch.cat(views)] if images.is_cuda else views
    outputs = torch.cat([_output(model, batch) for batch in batches])
    first, *others = outputs.chunk(len(views))
    return [first, *(other.flip(3) for other in others)]


def _output(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Return the float32 output of a network.

    If the network is to compute in float16 (`in_half`) and overflows, it computes in float32.
    """
    if getattr(model, "in_half", False):
        with torch.autocast(images.device.type, torch.float16):
            output: torch.Tensor = model(images).float()
        if output.isfinite().all():
            return output
    exact: torch.Tensor = model(images)
    return exact
