"""Scores of the label images (or attention maps) of a stage against the ground-truth masks."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from i2crc.artifacts.manifest import read_manifests
from i2crc.config.schema import Evaluation
from i2crc.data.images import read_gray, read_label, resize_nearest
from i2crc.data.index import Entry, Index
from i2crc.evaluation.bootstrap import Bootstrap, counts_text, image_counts, interval
from i2crc.evaluation.ground_truth import compare_with_masks, masked_images
from i2crc.evaluation.metrics import boundary_counts, boundary_iou, confusion, scores
from i2crc.evaluation.object_sizes import SIZES, object_counts, object_scores
from i2crc.labels.pseudo_labels import label_from_attention

COLUMNS = ("id", "miou_255_as_background", "coverage", "miou", "pixel_accuracy", "counts")
# The id of an image, its `confusion`, its `boundary_counts` and its `object_counts`.
Counted = tuple[str, np.ndarray, np.ndarray, np.ndarray]


def score_stage(
    index: Index, manifests: list[Path], attention: bool, settings: Evaluation, threads: int
) -> tuple[dict[str, Any], bytes]:
    """Return the scores of a stage on a split, and a CSV with a row of scores per image.

    `manifests` list the label images, or, with `attention`, the attention maps. Without a mask all
    scores are None. Raise InputError for a mask that does not fit.
    """
    files = read_manifests(manifests)
    labels = ["background", *index.classes]
    masked, unmasked = masked_images(index)

    def count(entry: Entry, truth: np.ndarray) -> Counted:
        if attention:
            maps = {c: read_gray(files[f"{entry.id}_{c}.png"][0]) for c in entry.classes or ()}
            size = entry.height, entry.width
            label = label_from_attention(maps, size, settings.cam_background)
            label = resize_nearest(label, entry.own_size)
        else:
            label = read_label(files[f"{entry.id}.png"][0])
        counts = confusion(truth, label, len(labels))
        bands = boundary_counts(truth, label, len(labels), settings.boundary_width)
        return entry.id, counts, bands, object_counts(truth, label)

    counted = compare_with_masks(count, masked, threads)
    result, table = summarize(counted, labels, settings.bootstrap)
    if not masked:
        # Zeros would look like measured values.
        result.update({name: None for name, value in result.items() if isinstance(value, float)})
    return {"images": len(masked), **result, "images_without_mask": unmasked}, table


def summarize(
    counted: Iterable[Counted], labels: list[str], replicates: int
) -> tuple[dict[str, Any], bytes]:
    """Return the scores of all images together, and a CSV with a row for each image.

    `labels` are the L label names, background first; `replicates` are those of the bootstrap.
    """
    total = np.zeros((len(labels), len(labels) + 1), np.int64)
    bands = np.zeros((3, len(labels)), np.int64)
    objects = np.zeros((4, len(SIZES)), np.int64)
    bootstrap = Bootstrap(len(labels), replicates)
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(COLUMNS)
    for image_id, counts, boundary, own_objects in counted:
        total += counts
        bands += boundary
        objects += own_objects
        by_label = image_counts(counts)
        bootstrap.add(image_id, by_label)
        own = scores(counts, labels)
        values = [f"{own[name]:.6f}" for name in COLUMNS[1:-1]]
        rows.writerow([image_id, *values, counts_text(by_label)])
    result = {
        **scores(total, labels),
        "miou_interval": interval(bootstrap.mious(as_background=False)),
        "miou_255_as_background_interval": interval(bootstrap.mious(as_background=True)),
        "boundary_iou": boundary_iou(bands),
        "by_object_size": object_scores(objects),
        "confusion": total.tolist(),
    }
    return result, table.getvalue().encode()
