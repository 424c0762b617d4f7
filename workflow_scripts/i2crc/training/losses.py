"""The losses of both trainings.

Every mean takes its number of items through `mean_count`: over several processes it returns the
items per process, averaged, so that the average of the processes' losses (what DDP descends on)
equals the loss of the whole batch. In one process it is the identity.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F

from i2crc.config.schema import RelationLosses
from i2crc.data.images import IGNORE

MeanCount = Callable[[torch.Tensor], torch.Tensor]


def identity(count: torch.Tensor) -> torch.Tensor:
    """`mean_count` of a single process."""
    return count


def classification_loss(
    logits: torch.Tensor, labels: torch.Tensor, mean_count: MeanCount = identity
) -> torch.Tensor:
    """Multilabel soft margin of (N, K) logits and (N, K) 0/1 labels (METHOD 9)."""
    total = F.multilabel_soft_margin_loss(logits, labels, reduction="none").sum()
    return total / mean_count(total.new_tensor(len(labels)))


def relation_losses(
    cam: torch.Tensor,
    saliency: torch.Tensor,
    labels: torch.Tensor,
    weights: RelationLosses,
    mean_count: MeanCount = identity,
) -> dict[str, torch.Tensor]:
    """The inter- and intra-class relation terms (METHOD 8), each not yet weighted.

    cam (N, K, h, w) raw maps; saliency (N, H, W) in 0..1; labels (N, K) 0/1. Only images with
    exactly one class count; without any the terms are 0. A term of weight 0 is left out.
    """
    wanted = [name for name, weight in weights.model_dump().items() if weight]
    if not wanted:
        return {}
    single = labels.sum(dim=1) == 1
    items = mean_count(single.sum().to(cam)) * labels.shape[1]
    if not single.any():
        # Zero, but still a function of the network: DDP waits for every parameter's gradient.
        return {name: cam.sum() * 0 for name in wanted}
    labels, saliency = labels[single], saliency[single].to(cam)[:, None]
    x = F.interpolate(cam[single], size=saliency.shape[2:], mode="bilinear", align_corners=False)
    x = x.flatten(2)
    masks = {"foreground": saliency.flatten(2), "background": 1 - saliency.flatten(2)}
    needed = masks if "class_gap" in wanted else wanted
    terms = {}
    prototypes = {}
    for name in needed:
        mask = masks[name]
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
    """Sum over P of x (N, K, P) times weight (N, 1, P), as (N, K)."""
    return (x @ weight.transpose(1, 2))[:, :, 0]


def _weighted_spread(x: torch.Tensor, weight: torch.Tensor, center: torch.Tensor) -> torch.Tensor:
    """Sum over P of weight * (x - center)^2, as (N, K).

    Multiplied out, so that no tensor of x's size is made but its square: three times faster.
    """
    total = weight.sum(dim=2)
    linear, square = _weighted_sum(x, weight), _weighted_sum(x.square(), weight)
    return square - 2 * center * linear + center.square() * total


def segmentation_loss(
    logits: list[torch.Tensor], labels: torch.Tensor, mean_count: MeanCount = identity
) -> torch.Tensor:
    """Sum of the cross entropies of all scales (METHOD 21), 255 ignored; 0 without any label.

    logits: tensors (N, K+1, h, w); labels (N, H, W) integers, shrunk to each logit size.
    """
    total = logits[0].new_zeros(())
    for scale in logits:
        target = resize_labels(labels, scale.shape[2:]).long()
        counted = mean_count((target != IGNORE).sum().to(scale)).clamp(min=1)
        # Unreduced: torch's own sum has no deterministic kernel.
        entropy = F.cross_entropy(scale, target, ignore_index=IGNORE, reduction="none")
        total = total + entropy.sum() / counted
    return total


def resize_labels(labels: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """(N, H, W) integer labels to `size` the way PIL's nearest does (METHOD 20)."""
    resized = F.interpolate(labels[:, None].float(), size=size, mode="nearest-exact")
    return resized[:, 0].to(labels.dtype)
