"""Batch norms folded into the convolutions before them, for networks that only predict."""

from collections import defaultdict
from typing import Any

import torch
from timm.layers import BatchNormAct2d
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


def fold_batch_norms(model: nn.Module, side: int) -> None:
    """Fold batch norms of a network, in evaluation mode on the CPU, into convolutions.

    A batch norm is folded if it takes the outputs of one convolution and nothing else takes them.
    The autograd graph of a picture of `side` x `side` pixels shows what takes an output.
    """
    norms = {
        name: module
        for name, module in model.named_modules()
        if type(module) in (nn.BatchNorm2d, BatchNormAct2d)
    }
    if not norms or torch.is_inference_mode_enabled():
        return  # in inference mode, autograd has no graph
    try:
        with torch.enable_grad():
            users = _users(model(torch.zeros(1, 3, side, side)).grad_fn)
    except RuntimeError:
        return  # it takes no such picture
    # Parameter -> the operations that it is an input of.
    uses = {node.variable: frozenset(by) for node, by in users.items() if hasattr(node, "variable")}
    convolutions = {
        uses[module.weight]: module
        for module in model.modules()
        if isinstance(module, nn.Conv2d) and module.weight in uses
    }
    for name, norm in norms.items():
        inputs = frozenset(node.next_functions[0][0] for node in uses.get(norm.weight, ()))
        conv, mean, variance = convolutions.get(inputs), norm.running_mean, norm.running_var
        if conv is None or mean is None or variance is None:
            continue
        if all(len(users[node]) == 1 for node in inputs):
            conv.weight, conv.bias = fuse_conv_bn_weights(
                conv.weight, conv.bias, mean, variance, norm.eps, norm.weight, norm.bias
            )
            after = [norm.drop, norm.act] if isinstance(norm, BatchNormAct2d) else []
            model.set_submodule(name, nn.Sequential(*after))


def _users(end: Any) -> dict[Any, list[Any]]:
    """Return the operations of an autograd graph, each with those that it is an input of."""
    users: dict[Any, list[Any]] = defaultdict(list)
    waiting = [end]
    while waiting:
        node = waiting.pop()
        for source, _ in node.next_functions:
            if source is not None and source not in users:
                waiting.append(source)
            users[source].append(node)
    return users
