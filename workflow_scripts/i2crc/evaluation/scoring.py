"""Scores of the label images (or attention maps) of a stage against the ground-truth masks."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from i2crc.artifacts.manifest import read_manifests
from i2crc.data.images import read_gray, read_label
from i2crc.data.index import Entry, Index
from i2crc.evaluation.bootstrap import Bootstrap, counts_text, image_counts, interval
from i2crc.evaluation.ground_truth import masked_images, read_mask
from i2crc.evaluation.metrics import boundary_counts, boundary_iou, confusion, scores
from i2crc.labels.pseudo_labels import label_from_attention
from i2crc.runtime.atomic import atomic_path, digest_value
from i2crc.runtime.errors import InputError
from i2crc.runtime.parallel import map_in_order

COLUMNS = ("id", "miou", "coverage", "pixel_accuracy", "counts")
# The id of an image, its `confusion` and its `boundary_counts`.
Counted = tuple[str, np.ndarray, np.ndarray]


def score_stage(
    index: Index,
    manifests: list[Path],
    settings: Mapping[str, Any],
    threads: int,
    images_csv: Path,
) -> dict[str, Any]:
    """Return the scores of a stage on a split; write a row of scores per image to `images_csv`.

    `manifests` list the label images, or attention maps if "cam_background" is not None.
    `settings` has the keys "stage", "cam_background" (0..1 or None), "boundary_width" (share of
    the image's diagonal) and "bootstrap" (replicates). Without a mask all scores are None. Raise
    InputError for a missing file, or one that does not fit its mask.
    """
    files = read_manifests(manifests)
    labels = ["background", *index.classes]
    background = settings["cam_background"]
    scored, unscored = masked_images(index)

    def file(name: str) -> Path:
        if name not in files:
            raise InputError(
                f"{name}: in none of the manifests ({', '.join(map(str, manifests))}); run "
                f"the stage that makes it for every image of the split {index.split}"
            )
        return files[name][0]

    def label(entry: Entry) -> np.ndarray:
        if background is None:
            return read_label(file(f"{entry.id}.png"))
        classes = entry.classes or []
        maps = np.stack([read_gray(file(f"{entry.id}_{c}.png")) for c in classes])
        return label_from_attention(maps, classes, background)

    def count(entry: Entry) -> Counted:
        try:
            pair = read_mask(entry), label(entry)
            counts = confusion(*pair, len(labels))
            bands = boundary_counts(*pair, len(labels), settings["boundary_width"])
            return entry.id, counts, bands
        except ValueError as error:
            raise InputError(
                f"{entry.mask}: does not fit the {settings['stage']} of {entry.id}: {error}; "
                "replace one of them"
            ) from error

    counted = map_in_order(count, scored, threads)
    result = summarize(counted, labels, settings["bootstrap"], images_csv)
    if not scored:
        # Zeros would look like measured values.
        result.update({name: None for name, value in result.items() if isinstance(value, float)})
    return {
        "images": len(scored),
        **result,
        "images_without_mask": unscored,
        "masks_sha256": digest_value({entry.id: entry.mask_sha256 for entry in scored}),
    }


def summarize(
    counted: Iterable[Counted], labels: list[str], replicates: int, images_csv: Path
) -> dict[str, Any]:
    """Return the scores of all images together; write a row for each image to `images_csv`.

    `labels` are the L label names, background first; `replicates` are those of the bootstrap.
    """
    total = np.zeros((len(labels), len(labels) + 1), np.int64)
    bands = np.zeros((3, len(labels)), np.int64)
    bootstrap = Bootstrap(len(labels), replicates)
    with atomic_path(images_csv) as temporary, open(temporary, "w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(COLUMNS)
        for image_id, counts, boundary in counted:
            total += counts
            bands += boundary
            by_label = image_counts(counts)
            bootstrap.add(image_id, by_label)
            own = scores(counts, labels)
            values = [f"{own[name]:.6f}" for name in COLUMNS[1:-1]]
            rows.writerow([image_id, *values, counts_text(by_label)])
    return {
        **scores(total, labels),
        "miou_interval": interval(bootstrap.mious()),
        "boundary_iou": boundary_iou(bands),
        "confusion": total.tolist(),
    }
