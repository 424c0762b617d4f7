"""Sweeps: the scores of the training labels that each value of one threshold would give."""

from pathlib import Path
from typing import Any

import numpy as np

from i2crc.artifacts.manifest import read_manifests
from i2crc.config.schema import Evaluation, PseudoLabels
from i2crc.data.images import read_gray, resize_nearest
from i2crc.data.index import Entry, Index
from i2crc.evaluation.ground_truth import compare_with_masks, masked_images
from i2crc.evaluation.metrics import confusion, scores
from i2crc.labels.pseudo_labels import initial_label, label_from_attention

MIOUS = ("miou", "miou_255_as_background", "miou_255_as_wrong")


def sweep(
    section: Evaluation | PseudoLabels,
    parameter: str,
    values: list[float],
    index: Index,
    cams: list[Path],
    saliency: list[Path],
    threads: int,
) -> dict[str, Any]:
    """Return the scores for each of `values` of `parameter`, and for the value in `section`.

    `cams` and `saliency` are manifests of the maps that labels are made from; with an `Evaluation`
    the attention maps suffice. "points" are in ascending order of their values. "fixed" is the
    point of the value in `section`, "oracle" the best point of each mIoU: of equal ones, the one
    with the lowest value. Without a mask both are None. Raise InputError for a mask that does not
    fit.
    """
    attention, saliency_maps = read_manifests(cams), read_manifests(saliency)
    names = ["background", *index.classes]
    tried: list[Any] = [
        type(section).model_validate({**section.model_dump(), parameter: value})
        for value in sorted({getattr(section, parameter), *values})
    ]

    def count(entry: Entry, truth: np.ndarray) -> np.ndarray:
        classes = entry.classes or []
        maps = {c: read_gray(attention[f"{entry.id}_{c}.png"][0]) for c in classes}
        if isinstance(section, PseudoLabels):
            salient = read_gray(saliency_maps[f"{entry.id}.png"][0])
            labels = (initial_label(maps, salient, classes, one) for one in tried)
        else:
            size = entry.height, entry.width
            labels = (label_from_attention(maps, size, one.cam_background) for one in tried)
        enlarged = (resize_nearest(label, entry.own_size) for label in labels)
        return np.stack([confusion(truth, label, len(names)) for label in enlarged])

    masked, unmasked = masked_images(index)
    counts = np.zeros((len(tried), len(names), len(names) + 1), np.int64)
    for counted in compare_with_masks(count, masked, threads):
        counts += counted
    known = bool(counts.any())
    points = []
    for one, found in zip(tried, counts, strict=True):
        score = scores(found, names)
        chosen = {name: score[name] if known else None for name in (*MIOUS, "coverage")}
        points.append({"value": getattr(one, parameter), **chosen})
    own = next(point for point in points if point["value"] == getattr(section, parameter))
    best = {name: max(points, key=lambda point: point[name]) for name in MIOUS} if known else None
    return {
        "images": len(masked),
        "points": points,
        "fixed": own if known else None,
        "oracle": best,
        "images_without_mask": unmasked,
    }
