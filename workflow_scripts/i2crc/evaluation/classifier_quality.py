"""How well a classifier ranks the images of a split: the average precision of every class."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from i2crc.artifacts.manifest import threads as thread_pool
from i2crc.data.build_index import classes_in_mask
from i2crc.data.images import read_photo
from i2crc.data.index import Entry, Index
from i2crc.data.transforms import Preprocessing, resize_photo
from i2crc.evaluation.ground_truth import read_mask
from i2crc.evaluation.ranking import average_precision
from i2crc.inference.prediction import load_classifier
from i2crc.models.cam_classifier import CamNet, class_logits
from i2crc.runtime.errors import InputError
from i2crc.runtime.log import log


def measure_classifier(
    index: Index, weights: Path, device: torch.device, threads: int
) -> dict[str, Any]:
    """Return the average precision of a trained classifier on the labelled images of a split.

    A class without a labelled image has None. Raise InputError for a mask with unknown classes.
    """
    model, settings, preprocessing = load_classifier(weights, device)
    labelled = [e for e in index.images if e.classes is not None or e.mask]
    unlabelled = [e.id for e in index.images if e.classes is None and not e.mask]
    if unlabelled:
        log.info("%d images without labels are left out: %s", len(unlabelled), " ".join(unlabelled))
    truth = [image_classes(entry, len(index.classes)) for entry in labelled]

    def score(entry: Entry) -> np.ndarray:
        return class_scores(model, entry, settings.input_size, preprocessing)

    with thread_pool(threads) as pool:
        scores = list(pool.map(score, labelled))
    return {
        "images": len(labelled),
        **rank_classes(truth, scores, index.classes),
        "images_without_labels": unlabelled,
    }


def image_classes(entry: Entry, num_classes: int) -> list[int]:
    """Return the 0-based classes of an image: those of the list, else those of its mask."""
    if entry.classes is not None:
        return entry.classes
    classes = classes_in_mask(read_mask(entry))
    if classes and classes[-1] >= num_classes:
        raise InputError(
            f"{entry.mask}: value {classes[-1] + 1}, but there are {num_classes} classes; "
            "correct the mask"
        )
    return classes


@torch.inference_mode()
def class_scores(
    model: CamNet, entry: Entry, size: int, preprocessing: Preprocessing
) -> np.ndarray:
    """Return the (K,) float32 logits of an image, resized as in training but not augmented."""
    device = next(model.parameters()).device
    pixels = np.asarray(resize_photo(read_photo(Path(entry.image)), size))
    return class_logits(model(preprocessing(pixels)[None].to(device)))[0].cpu().numpy()


def rank_classes(
    truth: list[list[int]], scores: list[np.ndarray], classes: list[str]
) -> dict[str, Any]:
    """Return the average precision and the number of positives of each of K classes.

    `truth` are the 0-based classes of N images, `scores` their (K,) logits.
    """
    precision, positives = {}, {}
    for c, name in enumerate(classes):
        positive = np.array([c in own for own in truth], dtype=bool)
        precision[name] = average_precision(np.array([row[c] for row in scores]), positive)
        positives[name] = int(positive.sum())
    measured = [value for value in precision.values() if value is not None]
    return {
        "mean_average_precision": float(np.mean(measured)) if measured else None,
        "average_precision": precision,
        "positives": positives,
    }
