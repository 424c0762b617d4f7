"""Score the label images of a stage (or its attention maps) against the ground-truth masks."""

import argparse
import csv
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from i2crc.artifacts.manifest import read_manifests
from i2crc.artifacts.provenance import Origin
from i2crc.config.schema import Evaluation
from i2crc.data.images import read_gray, read_label
from i2crc.data.index import Entry, read_index
from i2crc.evaluation.bootstrap import Bootstrap, counts_text, image_counts, interval
from i2crc.evaluation.metrics import boundary_counts, boundary_iou, confusion, scores
from i2crc.labels.pseudo_labels import label_from_attention
from i2crc.runtime.atomic import atomic_path, digest_file, digest_value, write_json
from i2crc.runtime.errors import InputError
from i2crc.runtime.log import log
from i2crc.runtime.parallel import map_in_order
from i2crc.runtime.parser import make_parser, run

COLUMNS = ("id", "miou", "coverage", "pixel_accuracy", "counts")
DEFAULTS = Evaluation()
# Of one image: its id, `confusion` and `boundary_counts`.
Counted = tuple[str, np.ndarray, np.ndarray]


def summarize(
    counted: Iterable[Counted], labels: list[str], replicates: int, images_csv: Path
) -> dict[str, Any]:
    """The scores of all images together; a row for each of them goes to `images_csv`."""
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


def main(arguments: argparse.Namespace) -> None:
    index = read_index(arguments.index)
    files = read_manifests(arguments.manifests)
    labels = ["background", *index.classes]
    scored = [entry for entry in index.images if entry.mask]
    unscored = [entry.id for entry in index.images if not entry.mask]
    if unscored:
        log.info("%d images without a mask are not scored: %s", len(unscored), " ".join(unscored))

    def file(name: str) -> Path:
        if name not in files:
            raise InputError(
                f"{name}: in none of the manifests ({', '.join(map(str, arguments.manifests))}); "
                f"run the stage that makes it for every image of {arguments.index}"
            )
        return files[name][0]

    def label(entry: Entry) -> np.ndarray:
        if not arguments.attention:
            return read_label(file(f"{entry.id}.png"))
        maps = np.stack([read_gray(file(f"{entry.id}_{c}.png")) for c in entry.classes])
        return label_from_attention(maps, entry.classes, arguments.cam_background)

    def count(entry: Entry) -> Counted:
        try:
            images = read_label(Path(entry.mask)), label(entry)
            counts = confusion(*images, len(labels))
            return entry.id, counts, boundary_counts(*images, len(labels), arguments.boundary_width)
        except ValueError as error:
            raise InputError(
                f"{entry.mask}: does not fit the {arguments.stage} of {entry.id}: {error}; replace "
                "one of them"
            ) from error

    counted = map_in_order(count, scored, arguments.threads)
    result = summarize(counted, labels, arguments.bootstrap, arguments.images_csv)
    if not scored:
        # Nothing was measured, which a zero would not say.
        result.update({name: None for name, value in result.items() if isinstance(value, float)})
    settings = {
        "stage": arguments.stage,
        "cam_background": arguments.cam_background if arguments.attention else None,
        "boundary_width": arguments.boundary_width,
        "bootstrap": arguments.bootstrap,
    }
    origin = Origin(Path(__file__), [arguments.index, *arguments.manifests], settings)
    written = {
        "stage": arguments.stage,
        "split": index.split,
        "images": len(scored),
        **result,
        "images_without_mask": unscored,
        "folder": os.path.relpath(arguments.images_csv.parent, arguments.output.parent),
        "files": {arguments.images_csv.name: digest_file(arguments.images_csv)},
        # The index holds the digests of the photographs alone.
        "masks_sha256": digest_value({e.id: digest_file(Path(e.mask)) for e in scored}),
        "provenance": origin.describe(arguments.output),
    }
    write_json(arguments.output, written)
    log.info("%s on %s: mIoU %s", arguments.stage, index.split, result["miou"])


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--stage", required=True, help="name in the result")
    parser.add_argument("--index", type=Path, required=True, help="index of the split")
    parser.add_argument("--manifests", type=Path, nargs="+", required=True, help="of all shards")
    parser.add_argument("--attention", action="store_true", help="they hold attention maps")
    parser.add_argument(
        "--cam-background",
        type=float,
        default=DEFAULTS.cam_background,
        help="score of the background (0..1)",
    )
    parser.add_argument(
        "--boundary-width",
        type=float,
        default=DEFAULTS.boundary_width,
        help="width of the bands of boundary IoU, as a share of the image's diagonal",
    )
    parser.add_argument(
        "--bootstrap",
        type=int,
        default=DEFAULTS.bootstrap,
        help="replicates behind the interval of the mIoU",
    )
    parser.add_argument("--output", type=Path, required=True, help="output: scores as JSON")
    parser.add_argument(
        "--images-csv", type=Path, required=True, help="output: a row of scores per image"
    )
    run(main, parser)
