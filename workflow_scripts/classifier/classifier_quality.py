"""Measure how well a classifier ranks images: the average precision of every class."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch

from i2crc.artifacts.manifest import threads
from i2crc.artifacts.provenance import Origin
from i2crc.data.build_index import classes_in_mask
from i2crc.data.images import read_label, read_photo
from i2crc.data.index import Entry, read_index
from i2crc.data.transforms import Preprocessing, resize_photo
from i2crc.evaluation.ranking import average_precision
from i2crc.inference.prediction import load_classifier
from i2crc.models.cam_classifier import CamNet, class_logits
from i2crc.models.weight_files import read_metadata
from i2crc.runtime.atomic import write_json
from i2crc.runtime.errors import InputError
from i2crc.runtime.log import log
from i2crc.runtime.parser import make_parser, run
from i2crc.training import distributed
from i2crc.training.options import add_deterministic


def labels_of(entry: Entry, num_classes: int) -> list[int]:
    """The 0-based classes of an image: those listed, or where none are, those of its mask."""
    if entry.classes is not None:
        return entry.classes
    classes = classes_in_mask(read_label(Path(entry.mask)))
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
    """(K,) float32 logits of one image, resized as in training and not augmented."""
    device = next(model.parameters()).device
    pixels = np.asarray(resize_photo(read_photo(Path(entry.image)), size))
    return class_logits(model(preprocessing(pixels)[None].to(device)))[0].cpu().numpy()


def rate(truth: list[list[int]], scores: list[np.ndarray], classes: list[str]) -> dict[str, Any]:
    """The quality of N images' (K,) scores, given the 0-based classes that the images have."""
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


def main(arguments: argparse.Namespace) -> None:
    # One thread an image, `threads` images at a time, as infer_cam does.
    device = distributed.start(arguments.gpus, 1, arguments.deterministic)
    index = read_index(arguments.index)
    if read_metadata(arguments.weights)["classes"] != index.classes:
        raise InputError(
            f"{arguments.weights}: trained on other classes than those of {arguments.index}; "
            "give the classifier of this data set"
        )
    model, settings, preprocessing = load_classifier(arguments.weights, device)

    labelled = [e for e in index.images if e.classes is not None or e.mask]
    unlabelled = [e.id for e in index.images if e.classes is None and not e.mask]
    if unlabelled:
        log.info("%d images without labels are left out: %s", len(unlabelled), " ".join(unlabelled))
    truth = [labels_of(entry, len(index.classes)) for entry in labelled]

    def score(entry: Entry) -> np.ndarray:
        return class_scores(model, entry, settings.input_size, preprocessing)

    with threads(arguments.threads) as pool:
        scores = list(pool.map(score, labelled))
    origin = Origin(
        Path(__file__),
        inputs=[arguments.weights, arguments.index],
        precision="fp32",
        device=str(device),
    )
    result = {
        "split": index.split,
        "images": len(labelled),
        **rate(truth, scores, index.classes),
        "images_without_labels": unlabelled,
        "provenance": origin.describe(arguments.output),
    }
    write_json(arguments.output, result)
    log.info(
        "classifier on %s: mean average precision %s",
        index.split, result["mean_average_precision"],
    )  # fmt: skip


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--weights", type=Path, required=True, help="trained classifier")
    parser.add_argument("--index", type=Path, required=True, help="index of the split")
    parser.add_argument("--gpus", type=int, default=0, help="1: use a GPU where there is one")
    parser.add_argument("--output", type=Path, required=True, help="output: quality as JSON")
    add_deterministic(parser)
    run(main, parser)
