"""Formula weights: a network's parameters from their positions alone, as the golden README says."""

import numpy as np
import torch
from torch import nn


def insert_formula_weights(model: nn.Module, salt: float) -> nn.Module:
    """Overwrite every parameter of `model`, rounded to float32; return it in double precision."""
    with torch.no_grad():
        for number, (name, parameter) in enumerate(model.named_parameters()):
            values = formula(number, name, parameter, salt).astype(np.float32)
            parameter.copy_(torch.from_numpy(values).view_as(parameter))
    return model.double()


def formula(number: int, name: str, parameter: torch.Tensor, salt: float) -> np.ndarray:
    """Return the values of parameter `number`, flat, float64."""
    k = np.arange(parameter.numel(), dtype=np.float64)
    s = np.sin(((12.9898 * k) + salt) + 0.1 * number) * 43758.5453
    u = 2 * (s - np.floor(s)) - 1
    if parameter.ndim > 1:
        return u * np.sqrt(6 / parameter[0].numel())
    return 0.01 * u if name.endswith("bias") else 1 + 0.05 * u
