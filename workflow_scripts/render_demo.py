"""Render the demo data set: images, masks, label lists and an archive of saliency maps."""

import argparse
from pathlib import Path

from i2crc.console import make_parser, run
from i2crc.demo import write_demo
from i2crc.files import write_json
from i2crc.provenance import Origin


def main(arguments: argparse.Namespace) -> None:
    counts = {"train": arguments.train, "val": arguments.val}
    manifest = write_demo(
        arguments.output, arguments.archive, counts, arguments.size, arguments.seed
    )
    settings = {**counts, "size": arguments.size}
    origin = Origin(Path(__file__), [], settings, seed=arguments.seed)
    write_json(arguments.manifest, {**manifest, "provenance": origin.describe(arguments.manifest)})


def parser() -> argparse.ArgumentParser:
    options = make_parser(__doc__)
    options.add_argument("--output", type=Path, required=True, help="root of the data set")
    options.add_argument("--archive", type=Path, required=True, help="saliency archive, .tar.gz")
    options.add_argument("--train", type=int, required=True, help="number of training images")
    options.add_argument("--val", type=int, required=True, help="number of validation images")
    options.add_argument("--size", type=int, default=128, help="side of the images in pixels")
    options.add_argument("--seed", type=int, default=0, help="seed of everything random")
    options.add_argument("--manifest", type=Path, required=True, help="JSON list, written last")
    return options


if __name__ == "__main__":
    run(main, parser())
