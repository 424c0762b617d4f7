"""Dilated convolutions that learn fast on a CPU.

The CPU kernels of torch compute the gradients of a dilated convolution up to ten times more slowly
than those of others, if it is grouped or has few output channels. Here other kernels compute them.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.grad import conv2d_weight

# What decides how a convolution is computed.
GEOMETRY = ("kernel_size", "stride", "padding", "dilation", "padding_mode")


class DilatedConv2d(nn.Conv2d):
    """The same as nn.Conv2d, for stride 1, an odd kernel, and padding that keeps the size."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return (N, O, H, W) outputs of (N, C, H, W) images."""
        learns = torch.is_grad_enabled() and (self.weight.requires_grad or images.requires_grad)
        if not learns or images.device.type != "cpu":
            return super().forward(images)
        weight = self.weight
        if torch.is_autocast_enabled("cpu"):
            dtype = torch.get_autocast_dtype("cpu")
            images, weight = images.to(dtype), weight.to(dtype)
        output = _Convolution.apply(images, weight, self.dilation[0], self.groups)
        return output if self.bias is None else output + self.bias.to(output.dtype)[:, None, None]


class _Convolution(torch.autograd.Function):
    """A convolution without bias; `dilation` and `groups` are numbers."""

    @staticmethod
    def forward(
        ctx: Any, images: torch.Tensor, weight: torch.Tensor, dilation: int, groups: int
    ) -> torch.Tensor:
        ctx.save_for_backward(images, weight)
        ctx.dilation, ctx.groups = dilation, groups
        return _convolve(images, weight, dilation, groups)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (images, weight), dilation, groups = ctx.saved_tensors, ctx.dilation, ctx.groups
        of_images = of_weight = None
        if ctx.needs_input_grad[0]:
            # The same convolution with the weights turned round, and inputs for outputs.
            turned = weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1).flip(2, 3)
            of_images = _convolve(gradient, turned, dilation, groups)
        if ctx.needs_input_grad[1]:
            if groups == 1:
                of_weight = _weight_gradient(images, gradient, weight.shape[2], dilation)
            else:
                # Each output depends on inputs of one sub-grid, where nothing is dilated.
                grids, gradients = _sub_grids(images, dilation), _sub_grids(gradient, dilation)
                side = weight.shape[2] // 2
                of_weight = conv2d_weight(
                    grids, weight.shape, gradients, padding=side, groups=groups
                )
        return of_images, of_weight, None, None


def _convolve(
    images: torch.Tensor, weight: torch.Tensor, dilation: int, groups: int
) -> torch.Tensor:
    padding = dilation * (weight.shape[2] // 2)
    return F.conv2d(images, weight, padding=padding, dilation=dilation, groups=groups)


def _weight_gradient(
    images: torch.Tensor, gradient: torch.Tensor, kernel: int, dilation: int
) -> torch.Tensor:
    """Return the (O, C, k, k) gradient of the weights of a convolution with one group."""
    padding = dilation * (kernel // 2)
    shifted = F.unfold(gradient, kernel, dilation, padding).transpose(0, 1).flatten(1)
    product = shifted @ images.permute(0, 2, 3, 1).flatten(0, 2)
    return product.unflatten(0, (-1, kernel, kernel)).flip(1, 2).permute(0, 3, 1, 2)


def _sub_grids(images: torch.Tensor, step: int) -> torch.Tensor:
    """Return (N, C, H, W) images as step^2 N images of every step-th row and column.

    They are padded with 0 to a multiple of the step, and in channels-last format.
    """
    height, width = images.shape[2:]
    images = F.pad(images, (0, -width % step, 0, -height % step))
    grids = images.unflatten(3, (-1, step)).unflatten(2, (-1, step)).permute(0, 3, 5, 2, 4, 1)
    return grids.flatten(0, 2).permute(0, 3, 1, 2)


def replace_dilated(model: nn.Module) -> None:
    """Replace the grouped dilated convolutions of a model by `DilatedConv2d`.

    Their parameters, and the names of these, are kept.
    """
    for name, conv in list(model.named_modules()):
        if type(conv) is not nn.Conv2d or conv.groups == 1 or conv.dilation == (1, 1):
            continue
        kernel, dilation = conv.kernel_size[0], conv.dilation[0]
        padding = dilation * (kernel // 2)
        fast = DilatedConv2d(
            conv.in_channels,
            conv.out_channels,
            kernel,
            padding=padding,
            dilation=dilation,
            groups=conv.groups,
            bias=conv.bias is not None,
            device="meta",  # it draws no random numbers, which would change those that follow
        )
        if kernel % 2 and all(getattr(fast, key) == getattr(conv, key) for key in GEOMETRY):
            fast.weight, fast.bias = conv.weight, conv.bias
            model.set_submodule(name, fast)
