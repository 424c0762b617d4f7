"""Refine the labels of one shard: CRF predictions, corrected by image-level and initial labels."""

import argparse
from pathlib import Path

from i2crc.config import Refinement
from i2crc.console import make_parser, run
from i2crc.dataset import read_index
from i2crc.images import read_label, write_label
from i2crc.manifests import make_shard, read_manifests, threads
from i2crc.provenance import Origin
from i2crc.pseudo_labels import refine_label


def main(arguments: argparse.Namespace) -> None:
    settings = Refinement.model_validate_json(arguments.settings)
    entries = {entry.id: entry for entry in read_index(arguments.index).images}
    predictions = read_manifests([arguments.predictions])
    initial = read_manifests([arguments.initial])
    inputs = [arguments.index, arguments.predictions, arguments.initial]
    origin = Origin(Path(__file__), inputs, settings)

    def key(image_id: str) -> list:
        name = f"{image_id}.png"
        return [predictions[name][1], initial[name][1], entries[image_id].classes]

    def work(image_id: str) -> list[str]:
        name = f"{image_id}.png"
        label = refine_label(
            read_label(predictions[name][0]),
            read_label(initial[name][0]),
            entries[image_id].classes,
            settings.min_foreground,
        )
        write_label(arguments.folder / name, label)
        return [name]

    keys = {image_id: key(image_id) for image_id in entries}
    with threads(arguments.threads) as pool:
        make_shard(arguments.manifest, origin, arguments.folder, keys, work, pool)


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--settings", default="{}", help="JSON: the section `refinement`")
    parser.add_argument("--index", type=Path, required=True, help="index of the shard")
    parser.add_argument("--predictions", type=Path, required=True, help="manifest of CRF labels")
    parser.add_argument("--initial", type=Path, required=True, help="manifest of initial labels")
    parser.add_argument("--folder", type=Path, required=True, help="output: label PNGs")
    parser.add_argument("--manifest", type=Path, required=True, help="output: manifest")
    run(main, parser)
