"""How well a classifier ranks the images of a split: the average precision of every class."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from i2crc.data.build_index import classes_in_mask
from i2crc.data.images import read_label, read_photo
from i2crc.data.index import Entry, Index
from i2crc.data.transforms import resize_photo
from i2crc.inference.prediction import load_classifier
from i2crc.models.cam_classifier import class_logits
from i2crc.runtime.parallel import map_in_order


def measure_classifier(
    index: Index, weights: Path, device: torch.device, threads: int
) -> dict[str, Any]:
    """Return the average precision of a trained classifier on the labelled images of a split.

    The classes of an image are those of the list, else those of its mask. A class without a
    labelled image has None.
    """
    model, settings, preprocessing = load_classifier(weights, device)
    labelled = [entry for entry in index.images if entry.classes is not None or entry.mask]
    unlabelled = [e.id for e in index.images if e.classes is None and not e.mask]

    @torch.inference_mode()
    def measure(entry: Entry) -> tuple[list[int], np.ndarray]:
        """Return the classes of an image, and its (K,) float32 logits, resized as in training."""
        classes = entry.classes
        if classes is None:
            classes = classes_in_mask(read_label(Path(entry.mask or "")))
        pixels = np.asarray(resize_photo(read_photo(Path(entry.image)), settings.input_size))
        return classes, class_logits(model(preprocessing(pixels)[None].to(device)))[0].cpu().numpy()

    measured = list(map_in_order(measure, labelled, threads))
    precision, positives = {}, {}
    for c, name in enumerate(index.classes):
        positive = np.array([c in classes for classes, _ in measured], dtype=bool)
        precision[name] = average_precision(np.array([row[c] for _, row in measured]), positive)
        positives[name] = int(positive.sum())
    known = [value for value in precision.values() if value is not None]
    return {
        "images": len(labelled),
        "mean_average_precision": float(np.mean(known)) if known else None,
        "average_precision": precision,
        "positives": positives,
        "images_without_labels": unlabelled,
    }


def average_precision(scores: np.ndarray, positive: np.ndarray) -> float | None:
    """Return the area (0..1) under the precision-recall curve of (N,) scores and (N,) bool truth.

    As in VOC since 2010 (Everingham et al., "The PASCAL Visual Object Classes Challenge: A
    Retrospective", section 3), the precision at a recall is the highest precision at that recall
    or any higher one. The area is exact, not sampled at eleven points. Images of the same score
    enter the curve together, so their order does not matter. Return None without a positive.
    """
    if not positive.any():
        return None
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(positive[order])
    # The curve has a point before each change of the score, and one at the end.
    last = np.append(np.diff(scores[order]) != 0, True)
    found = np.arange(1, len(scores) + 1)[last]
    precision = hits[last] / found
    recall = hits[last] / hits[-1]
    highest = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0) * highest).sum())
