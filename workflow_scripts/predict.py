"""Predict one shard: per image the label PNG, and the low-resolution logits."""

import argparse
from pathlib import Path

import numpy as np

from i2crc import distributed
from i2crc.console import make_parser, run
from i2crc.dataset import read_index
from i2crc.files import atomic_path, digest_file
from i2crc.images import read_photo, write_label
from i2crc.manifests import make_shard, threads
from i2crc.prediction import load_segmentation, predict_logits
from i2crc.provenance import Origin
from i2crc.upsampling import upsample


def main(arguments: argparse.Namespace) -> None:
    # One thread an image, `threads` images at a time: faster than the reverse.
    device = distributed.start(arguments.gpus, 1, arguments.deterministic)
    model, preprocessing = load_segmentation(arguments.weights, device)
    entries = {entry.id: entry for entry in read_index(arguments.index).images}
    inputs = [arguments.index, arguments.weights]
    origin = Origin(Path(__file__), inputs, precision="fp32", device=str(device))
    weights = digest_file(arguments.weights)
    keys = {entry.id: [weights, entry.sha256] for entry in entries.values()}

    def work(image_id: str) -> list[str]:
        photo = np.asarray(read_photo(Path(entries[image_id].image)))
        logits = predict_logits(model, photo, preprocessing)
        with atomic_path(arguments.folder / f"{image_id}.npy") as temporary:
            np.save(temporary, logits)
        label = upsample(logits, photo.shape[:2]).argmax(axis=0)
        write_label(arguments.folder / f"{image_id}.png", label)
        return [f"{image_id}.npy", f"{image_id}.png"]

    with threads(arguments.threads) as pool:
        make_shard(arguments.manifest, origin, arguments.folder, keys, work, pool)


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--weights", type=Path, required=True, help="trained segmentation network")
    parser.add_argument("--index", type=Path, required=True, help="index of the shard")
    parser.add_argument("--folder", type=Path, required=True, help="output: labels and logits")
    parser.add_argument("--manifest", type=Path, required=True, help="output: manifest")
    parser.add_argument("--gpus", type=int, default=0, help="1: use a GPU where there is one")
    distributed.add_deterministic(parser)
    run(main, parser)
