"""Score the label images of a stage (or its attention maps) against the ground-truth masks."""

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from i2crc.console import log, make_parser, run
from i2crc.dataset import Entry, read_index
from i2crc.files import InputError, write_json
from i2crc.images import read_gray, read_label
from i2crc.manifests import read_manifests
from i2crc.metrics import confusion, scores


def label_from_attention(entry: Entry, maps: dict[str, Path], background: float) -> np.ndarray:
    """(H, W) uint8 label of an image: its strongest class where that exceeds `background`."""
    attention = np.stack([read_gray(maps[f"{entry.id}_{c}.png"]) for c in entry.classes])
    labels = np.array([c + 1 for c in entry.classes], dtype=np.uint8)
    strongest = labels[attention.argmax(axis=0)]
    return np.where(attention.max(axis=0) > background * 255, strongest, 0).astype(np.uint8)


def main(arguments: argparse.Namespace) -> None:
    index = read_index(arguments.index)
    maps = {name: path for name, (path, _) in read_manifests(arguments.manifests).items()}
    labels = ["background", *index.classes]
    scored = [entry for entry in index.images if entry.mask]
    unscored = [entry.id for entry in index.images if not entry.mask]
    if unscored:
        log.info("%d images without a mask are not scored: %s", len(unscored), " ".join(unscored))

    def count(entry: Entry) -> np.ndarray:
        if arguments.attention:
            label = label_from_attention(entry, maps, arguments.cam_background)
        else:
            label = read_label(maps[f"{entry.id}.png"])
        try:
            return confusion(read_label(Path(entry.mask)), label, len(labels))
        except ValueError as error:
            raise InputError(f"{entry.mask}: {error}") from error

    with ThreadPoolExecutor(arguments.threads) as pool:
        counts = sum(pool.map(count, scored), np.zeros((len(labels), len(labels) + 1), np.int64))
    result = {"stage": arguments.stage, "split": index.split, "images": len(scored)}
    result.update(scores(counts, labels))
    if not scored:
        # Nothing was measured, which a zero would not say.
        result.update({name: None for name, value in result.items() if isinstance(value, float)})
    result["images_without_mask"] = unscored
    write_json(arguments.output, result)
    log.info("%s on %s: mIoU %s", arguments.stage, index.split, result["miou"])


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--stage", required=True, help="name in the result")
    parser.add_argument("--index", type=Path, required=True, help="index of the split")
    parser.add_argument("--manifests", type=Path, nargs="+", required=True, help="of all shards")
    parser.add_argument("--attention", action="store_true", help="they hold attention maps")
    parser.add_argument(
        "--cam-background", type=float, default=0.2, help="score of the background (0..1)"
    )
    parser.add_argument("--output", type=Path, required=True, help="output: scores as JSON")
    run(main, parser)
