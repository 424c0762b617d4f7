"""Predict one shard: per image the label PNG, and the low-resolution logits for the CRF."""

import argparse
import os
from pathlib import Path

import numpy as np

from i2crc import distributed
from i2crc.console import make_parser, run
from i2crc.dataset import read_index
from i2crc.files import digest_file
from i2crc.images import read_photo, write_label
from i2crc.logits import read_logits, write_logits
from i2crc.manifests import make_files, threads, write_manifest
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
    labels, logits = arguments.folder, arguments.logits
    # Snakemake deletes `logits` before a job starts; what an interrupted one made is here.
    unfinished = logits.with_name(f"{logits.name}.unfinished")
    if logits.is_dir():
        logits.rename(unfinished)
    parent = Path(os.path.commonpath([labels, logits]))

    def work(image_id: str) -> list[str]:
        photo = np.asarray(read_photo(Path(entries[image_id].image)))
        files = unfinished / f"{image_id}.npz", labels / f"{image_id}.png"
        write_logits(files[0], predict_logits(model, photo, preprocessing))
        # Of what is stored, so that the CRF refines exactly this label.
        write_label(files[1], upsample(read_logits(files[0]), photo.shape[:2]).argmax(axis=0))
        return [str(file.relative_to(parent)) for file in files]

    with threads(arguments.threads) as pool:
        journal = arguments.manifest.with_suffix(".journal")
        files = make_files(journal, origin, parent, keys, work, pool)
    unfinished.mkdir(parents=True, exist_ok=True)  # of a shard without images
    unfinished.rename(logits)
    shas = {parent / name: sha for name, sha in files.items()}
    write_manifest(
        arguments.logits_manifest,
        origin,
        logits,
        {path.name: sha for path, sha in shas.items() if path.parent == unfinished},
        temporary=True,
    )
    made = {path.name: sha for path, sha in shas.items() if path.parent == labels}
    write_manifest(arguments.manifest, origin, labels, made)


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--weights", type=Path, required=True, help="trained segmentation network")
    parser.add_argument("--index", type=Path, required=True, help="index of the shard")
    parser.add_argument("--folder", type=Path, required=True, help="output: label PNGs")
    parser.add_argument("--manifest", type=Path, required=True, help="output: manifest of these")
    parser.add_argument("--logits", type=Path, required=True, help="output: folder of the logits")
    parser.add_argument(
        "--logits-manifest", type=Path, required=True, help="output: manifest of these"
    )
    parser.add_argument("--gpus", type=int, default=0, help="1: use a GPU where there is one")
    distributed.add_deterministic(parser)
    run(main, parser)
