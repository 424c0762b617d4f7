"""Score saliency maps as foreground masks against the ground truth."""

import argparse
from pathlib import Path

import numpy as np

from i2crc.artifacts.manifest import read_manifests
from i2crc.artifacts.provenance import Origin
from i2crc.config.schema import Evaluation
from i2crc.data.images import IGNORE, read_gray, read_label
from i2crc.data.index import Entry, read_index
from i2crc.runtime.atomic import write_json
from i2crc.runtime.errors import InputError
from i2crc.runtime.log import log
from i2crc.runtime.parallel import map_in_order
from i2crc.runtime.parser import make_parser, run


def compare(
    saliency: np.ndarray, truth: np.ndarray, threshold: float
) -> tuple[np.ndarray, float | None]:
    """(3,) int64 pixels salient and true, salient, true; the mean absolute error.

    saliency, truth: (H, W) uint8. True is what is neither 0 nor 255; pixels whose truth is 255 are
    left out. A pixel is salient from `threshold` (0..1) times 255 on. Without any known pixel there
    is no error. ValueError for images of different size.
    """
    if saliency.shape != truth.shape:
        raise ValueError(f"size {saliency.shape}, the ground truth has {truth.shape}")
    known = truth != IGNORE
    values, foreground = saliency[known], truth[known] != 0
    salient = values >= threshold * 255
    counts = np.array([(salient & foreground).sum(), salient.sum(), foreground.sum()])
    return counts, float(np.abs(values / 255 - foreground).mean()) if values.size else None


def ratio(part: int, whole: int) -> float | None:
    """A share, or None of nothing."""
    return float(part / whole) if whole else None


def main(arguments: argparse.Namespace) -> None:
    index = read_index(arguments.index)
    files = read_manifests([arguments.saliency])
    scored = [entry for entry in index.images if entry.mask]
    unscored = [entry.id for entry in index.images if not entry.mask]

    def count(entry: Entry) -> tuple[np.ndarray, float | None]:
        name = f"{entry.id}.png"
        if name not in files:
            raise InputError(f"{name}: not in {arguments.saliency}; make or add the map")
        path = files[name][0]
        try:
            return compare(read_gray(path), read_label(Path(entry.mask)), arguments.threshold)
        except ValueError as error:
            raise InputError(f"{path}: {error} ({entry.mask}); replace one of them") from error

    total, errors, measured = np.zeros(3, np.int64), 0.0, 0
    for counts, error in map_in_order(count, scored, arguments.threads):
        total += counts
        if error is not None:
            errors, measured = errors + error, measured + 1
    both, salient, foreground = total
    origin = Origin(
        Path(__file__), [arguments.index, arguments.saliency], {"threshold": arguments.threshold}
    )
    result = {
        "split": index.split,
        "images": len(scored),
        "threshold": arguments.threshold,
        "iou": ratio(both, salient + foreground - both),
        "precision": ratio(both, salient),
        "recall": ratio(both, foreground),
        "mae": ratio(errors, measured),
        "images_without_mask": unscored,
        "provenance": origin.describe(arguments.output),
    }
    write_json(arguments.output, result)
    log.info("saliency of %d images: IoU %s, MAE %s", len(scored), result["iou"], result["mae"])


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--index", type=Path, required=True, help="index of the split")
    parser.add_argument(
        "--saliency", type=Path, required=True, help="manifest of the saliency maps"
    )
    parser.add_argument(
        "--threshold",
        type=float,
        default=Evaluation().saliency_threshold,
        help="saliency (0..1) from which a pixel is foreground",
    )
    parser.add_argument("--output", type=Path, required=True, help="output: quality as JSON")
    run(main, parser)
