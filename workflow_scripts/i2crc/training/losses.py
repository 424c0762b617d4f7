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
    return total / mean_count(total.new_full((), len(labels)))


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
    # Without such an image the sums are 0, and so are the terms, with a gradient, for which DDP
    # waits.
    items = mean_count(single.sum().to(cam)).clamp(min=1e-5) * labels.shape[1]
    if cam.device.type == "cpu":  # a GPU would have to wait for their number
        cam, saliency, labels, single = (t[single] for t in (cam, saliency, labels, single))
    saliency, counts = saliency.to(cam), single.to(cam)[:, None]
    # The maps are not enlarged to the size of the masks: what their pixels weigh is summed instead.
    sides = zip(cam.shape[2:], saliency.shape[1:], strict=True)
    rows, columns = (_enlargement(small, large, cam) for small, large in sides)
    terms, prototypes = {}, {}
    for name, mask in {"foreground": saliency, "background": 1 - saliency}.items():
        area = mask.sum(dim=(1, 2))[:, None] + 1e-5
        weights_of_map = (rows @ mask @ columns.T)[:, None]
        prototypes[name] = (cam * weights_of_map).sum(dim=(2, 3)) / area
        if name in wanted:
            centered = cam - prototypes[name][:, :, None, None]
            spread = _weighted_squares(centered, mask.square(), rows, columns)
            terms[name] = (spread / area * counts).sum() / items
    if "class_gap" in wanted:
        gap = (prototypes["background"] - prototypes["foreground"]) * labels
        terms["class_gap"] = (gap * counts).sum() / items
    return terms


def _enlargement(small: int, large: int, like: torch.Tensor) -> torch.Tensor:
    """Return the (small, large) matrix that enlarges a row vector, linear, align_corners false."""
    identity = torch.eye(small, dtype=like.dtype, device=like.device)[None]
    return F.interpolate(identity, size=large, mode="linear", align_corners=False)[0]


def _weighted_squares(
    x: torch.Tensor, weight: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor
) -> torch.Tensor:
    """Return the sum over pixels of weight times the square of the enlarged x, as (N, K).

    x is (N, K, h, w) and weight (N, H, W). The matrices `rows` (h, H) and `columns` (w, W) enlarge
    x. The sum is a quadratic form in x. A pixel depends on adjacent positions of x only, so the
    form has few coefficients, and they are those of all classes.
    """
    coefficients = _products(rows) @ weight @ _products(columns).T
    first, second = _pairs(x, 2)
    (first_left, first_right), (second_left, second_right) = _pairs(first, 3), _pairs(second, 3)
    products = (first_left * second_right + first_right * second_left) / 2
    return (products * coefficients[:, None]).sum(dim=(2, 3))


def _products(matrix: torch.Tensor) -> torch.Tensor:
    """Return the products of the pairs of rows; adjacent rows count in both orders."""
    first, second = _pairs(matrix, 0)
    products = first * second
    products[len(matrix) :] *= 2
    return products


def _pairs(values: torch.Tensor, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the firsts and seconds of pairs along `dim`: each with itself, then adjacent ones."""
    others = values.shape[dim] - 1
    first = torch.cat([values, values.narrow(dim, 0, others)], dim)
    second = torch.cat([values, values.narrow(dim, 1, others)], dim)
    return first, second


def segmentation_loss(
    logits: list[torch.Tensor], labels: torch.Tensor, class_weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the sum of the cross entropies of all scales (METHOD 21).

    `logits` are tensors (N, K+1, h, w). `labels` are (N, H, W) integers in 0..K or 255, which is
    ignored; they are resized to each scale. Each mean over pixels is weighted by the (K+1,)
    `class_weights` of their labels, if there are any. Without any label the loss is 0.
    """
    total = logits[0].new_zeros(())
    weights = logits[0].new_ones(logits[0].shape[1]) if class_weights is None else class_weights
    weights = weights.to(total)
    for scale in logits:
        target = resize_labels(labels, (scale.shape[2], scale.shape[3])).long()
        is_labelled = target != IGNORE
        weight = weights[target.where(is_labelled, 0)] * is_labelled
        counted = mean_count(weight.sum())
        # Not reduced by torch, whose sum has no deterministic kernel.
        entropy = F.cross_entropy(scale, target, ignore_index=IGNORE, reduction="none")
        total = total + (entropy * weight).sum() / counted.where(counted > 0, 1)
    return total


def resize_labels(labels: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Return (N, H, W) integer labels resized to `size` as by nearest in PIL (METHOD 20)."""
    resized = F.interpolate(labels[:, None].float(), size=size, mode="nearest-exact")
    return resized[:, 0].to(labels.dtype)
