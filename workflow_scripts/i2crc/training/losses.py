"""The losses of both trainings.

Every mean divides by a number of items that went through `mean_count`. With several processes that
is the average number of items of a process. So the average of the processes' losses, which DDP
minimises, equals the loss of the whole batch.
"""

import torch
import torch.nn.functional as F

from i2crc.config.schema import RelationLosses
from i2crc.data.images import IGNORE
from i2crc.training.distributed import mean_count


def classification_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the multilabel soft margin loss of (N, K) logits and (N, K) 0/1 labels (METHOD 9)."""
    total = F.multilabel_soft_margin_loss(logits, labels, reduction="none").sum()
    return total / mean_count(total.new_tensor(len(labels)))


def relation_losses(
    cam: torch.Tensor, saliency: torch.Tensor, labels: torch.Tensor, weights: RelationLosses
) -> dict[str, torch.Tensor]:
    """Return the inter- and intra-class relation terms (METHOD 8), not yet weighted.

    `cam` are raw maps (N, K, h, w), `saliency` is (N, H, W) in 0..1, `labels` are (N, K) 0/1. Only
    images of exactly one class count. Without such images the terms are 0. Terms of weight 0 are
    left out.
    """
    wanted = [name for name, weight in weights.model_dump().items() if weight]
    if not wanted:
        return {}
    single = labels.sum(dim=1) == 1
    items = mean_count(single.sum().to(cam)) * labels.shape[1]
    if not single.any():
        # Zero, but with a gradient, because DDP waits for that of every parameter.
        return {name: cam.sum() * 0 for name in wanted}
    labels, saliency = labels[single], saliency[single].to(cam)[:, None]
    x = F.interpolate(cam[single], size=saliency.shape[2:], mode="bilinear", align_corners=False)
    x = x.flatten(2)
    masks = {"foreground": saliency.flatten(2), "background": 1 - saliency.flatten(2)}
    terms, prototypes = {}, {}
    for name, mask in masks.items():
        area = mask.sum(dim=2) + 1e-5
        prototypes[name] = _weighted_sum(x, mask) / area
        if name in wanted:
            spread = _weighted_spread(x, mask.square(), prototypes[name])
            terms[name] = (spread / area).sum() / items
    if "class_gap" in wanted:
        gap = (prototypes["background"] - prototypes["foreground"]) * labels
        terms["class_gap"] = gap.sum() / items
    return terms


def _weighted_sum(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return the sum over P of x (N, K, P) times weight (N, 1, P), as (N, K)."""
    return (x @ weight.transpose(1, 2))[:, :, 0]


def _weighted_spread(x: torch.Tensor, weight: torch.Tensor, center: torch.Tensor) -> torch.Tensor:
    """Return the sum over P of weight * (x - center)^2, as (N, K).

    It is multiplied out, so that the square of x is the only new tensor of its size. That is three
    times faster.
    """
    total = weight.sum(dim=2)
    linear, square = _weighted_sum(x, weight), _weighted_sum(x.square(), weight)
    return square - 2 * center * linear + center.square() * total


def segmentation_loss(logits: list[torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
    """Return the sum of the cross entropies of all scales (METHOD 21).

    `logits` are tensors (N, K+1, h, w). `labels` are (N, H, W) integers in 0..K or 255, which is
    ignored; they are resized to each scale. Without any label the loss is 0.
    """
    total = logits[0].new_zeros(())
    for scale in logits:
        target = resize_labels(labels, (scale.shape[2], scale.shape[3])).long()
        counted = mean_count((target != IGNORE).sum().to(scale)).clamp(min=1)
        # Not reduced by torch, whose sum has no deterministic kernel.
        entropy = F.cross_entropy(scale, target, ignore_index=IGNORE, reduction="none")
        total = total + entropy.sum() / counted
    return total


def resize_labels(labels: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Return (N, H, W) integer labels resized to `size` as by nearest in PIL (METHOD 20)."""
    resized = F.interpolate(labels[:, None].float(), size=size, mode="nearest-exact")
    return resized[:, 0].to(labels.dtype)
