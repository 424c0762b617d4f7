"""A small network, comparison of weights, and an object that runs code when it is unpickled."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn


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
