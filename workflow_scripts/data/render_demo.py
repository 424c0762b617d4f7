"""Draw the demo data set: photographs, masks, label lists and an archive of saliency maps."""

import argparse
from pathlib import Path

from i2crc.artifacts.kept import keep, restore
from i2crc.artifacts.manifest import damaged_files
from i2crc.artifacts.provenance import Origin
from i2crc.runtime.atomic import write_json
from i2crc.runtime.log import log
from i2crc.runtime.parser import make_parser, run


def main(arguments: argparse.Namespace) -> None:
    counts = {"train": arguments.train, "val": arguments.val}
    settings = {**counts, "size": arguments.size}
    origin = Origin(Path(__file__), [], settings, seed=arguments.seed)
    outputs = [arguments.manifest, arguments.archive]
    if restore(origin.fingerprint(), outputs) and not damaged_files(arguments.manifest):
        log.info("%s: already drawn", arguments.output)
        return
    # Imported here, because a finished stage must not wait for numpy.
    from i2crc.data.drawn_demo import write_demo

    manifest = write_demo(
        arguments.output, arguments.archive, counts, arguments.size, arguments.seed
    )
    write_json(arguments.manifest, {**manifest, "provenance": origin.describe(arguments.manifest)})
    keep(origin.fingerprint(), outputs)


def parser() -> argparse.ArgumentParser:
    options = make_parser(__doc__)
    options.add_argument("--output", type=Path, required=True, help="output: root of the data set")
    options.add_argument(
        "--archive", type=Path, required=True, help="output: saliency maps, .tar.gz"
    )
    options.add_argument("--train", type=int, required=True, help="number of training images")
    options.add_argument("--val", type=int, required=True, help="number of validation images")
    options.add_argument("--size", type=int, default=128, help="image side in pixels")
    options.add_argument("--seed", type=int, default=0, help="seed of everything random")
    options.add_argument(
        "--manifest", type=Path, required=True, help="output: manifest, written last"
    )
    return options


if __name__ == "__main__":
    run(main, parser())
