"""Networks on photographs and their mirror images."""

import torch
from torch import nn

from i2crc.runtime.log import log


def both_ways(model: nn.Module, images: torch.Tensor, mirrored: bool) -> list[torch.Tensor]:
    """Return the float32 outputs of (N, 3, H, W) images and, if `mirrored`, of their mirror images.

    The latter are mirrored back. A GPU computes both at once, where a CPU would gain nothing.
    A network in float16 whose outputs are not finite computes in float32 from then on.
    """
    dtype = next(model.parameters()).dtype
    views = [images, images.flip(3)] if mirrored else [images]
    batches = [torch.cat(views)] if images.is_cuda else views
    outputs = torch.cat([model(batch.to(dtype)).float() for batch in batches])
    if dtype == torch.float16 and not outputs.isfinite().all():
        log.warning("the network overflows in float16, so it computes in float32 from here on")
        with torch.inference_mode(False):
            model.float()
        return both_ways(model, images, mirrored)
    first, *others = outputs.chunk(len(views))
    return [first, *(other.flip(3) for other in others)]
