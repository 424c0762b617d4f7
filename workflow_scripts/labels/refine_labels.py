"""Refine the labels of one shard: CRF predictions, corrected by image-level and initial labels."""

import argparse
from concurrent.futures import Executor
from pathlib import Path

from i2crc.artifacts.manifest import Work, make_shard, read_manifests, shard_parser, threads
from i2crc.artifacts.provenance import Origin
from i2crc.config.schema import Refinement
from i2crc.data.index import read_index
from i2crc.runtime.parser import run


def main(arguments: argparse.Namespace) -> None:
    settings = Refinement.model_validate_json(arguments.settings)
    entries = {entry.id: entry for entry in read_index(arguments.index).images}
    predictions = read_manifests([arguments.predictions])
    initial = read_manifests([arguments.initial])
    inputs = [arguments.index, arguments.predictions, arguments.initial]
    origin = Origin(Path(__file__), inputs, settings)

    def key(image_id: str) -> list:
        name = f"{image_id}.png"
        entry = entries[image_id]
        shas = [predictions[name][1], initial[name][1], entry.trusted_sha256]
        return [*shas, entry.classes or []]

    def prepare() -> tuple[Work, Executor]:
        from i2crc.data.images import read_label, resize_nearest, write_label
        from i2crc.labels.pseudo_labels import refine_label

        def work(image_id: str) -> list[str]:
            name, entry = f"{image_id}.png", entries[image_id]
            if entry.trusted_mask:
                write_label(arguments.folder / name, read_label(Path(entry.trusted_mask)))
                return [name]
            label = refine_label(
                resize_nearest(read_label(predictions[name][0]), entry.size),
                resize_nearest(read_label(initial[name][0]), entry.size),
                entry.classes or [],
                settings.min_foreground,
            )
            write_label(arguments.folder / name, label, entry.own_size)
            return [name]

        return work, threads(arguments.threads)

    keys = {image_id: key(image_id) for image_id in entries}
    make_shard({arguments.manifest: arguments.folder}, origin, arguments.folder, keys, prepare)


if __name__ == "__main__":
    parser = shard_parser(__doc__, "refinement")
    parser.add_argument("--predictions", type=Path, required=True, help="manifest of CRF labels")
    parser.add_argument("--initial", type=Path, required=True, help="manifest of initial labels")
    run(main, parser)
