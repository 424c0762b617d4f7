"""The optimiser, its parameter groups and the learning-rate schedule."""

from typing import Any

import torch
from torch import nn

from i2crc.config.schema import Optimizer, Schedule


def parameter_groups(model: nn.Module, head: str, optimizer: Optimizer) -> list[dict[str, Any]]:
    """Return the groups: backbone weights, backbone biases, head weights, head biases.

    Parameters whose name starts with `head` belong to the head; frozen ones to no group. A group
    is `{"names", "params", "lr", "base_lr"}`; "lr" changes with the schedule, "base_lr" does not.
    """
    groups = []
    for in_head in (False, True):
        for is_bias in (False, True):
            names = [
                name
                for name, parameter in model.named_parameters()
                if name.startswith(head) == in_head and name.endswith("bias") == is_bias
                if parameter.requires_grad
            ]
            rate = optimizer.learning_rate
            rate *= optimizer.head_factor if in_head else 1.0
            rate *= optimizer.bias_factor if is_bias else 1.0
            parameters = [model.get_parameter(name) for name in names]
            groups.append({"names": names, "params": parameters, "lr": rate, "base_lr": rate})
    return groups


def learning_rate_factor(schedule: Schedule, step: int, steps: int, epoch: int) -> float:
    """Return the factor of the learning rates at 0-based `step` of `steps`, in 0-based `epoch`."""
    if schedule.name == "poly":
        return (1 - schedule.hold * (step // schedule.hold) / steps) ** schedule.power
    return schedule.gamma ** sum(epoch >= milestone for milestone in schedule.milestones)


def build_optimizer(groups: list[dict[str, Any]], settings: Optimizer) -> torch.optim.Optimizer:
    """Return the optimiser of parameter groups: one kernel for many parameters (`fused`)."""
    if settings.name == "adamw":
        return torch.optim.AdamW(groups, weight_decay=settings.weight_decay, fused=True)
    return torch.optim.SGD(
        groups,
        momentum=settings.momentum,
        nesterov=settings.nesterov,
        weight_decay=settings.weight_decay,
        fused=True,
    )
