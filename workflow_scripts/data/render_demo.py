"""Draw the demo data set: photographs, masks, label lists and an archive of saliency maps."""

import argparse
from pathlib import Path

from i2crc.artifacts.kept import make_once
from i2crc.artifacts.provenance import Origin
from i2crc.runtime.parser import make_parser, run


def main(arguments: argparse.Namespace) -> None:
    counts, size = {"train": arguments.train, "val": arguments.val}, arguments.size
    origin = Origin(Path(__file__), [], {**counts, "size": size}, arguments.seed)

    def make() -> list[dict | None]:
        # Imported here, because a finished stage must not wait for numpy.
        from i2crc.data.drawn_demo import write_demo

        root = arguments.manifest.parent
        return [write_demo(root, arguments.archive, counts, size, arguments.seed), None]

    make_once(origin, [arguments.manifest, arguments.archive], make)


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--train", type=int, required=True, help="number of training images")
    parser.add_argument("--val", type=int, required=True, help="number of validation images")
    parser.add_argument("--size", type=int, required=True, help="image side in pixels")
    parser.add_argument("--seed", type=int, default=0, help="another one draws other images")
    parser.add_argument(
        "--archive", type=Path, required=True, help="output: saliency maps, .tar.gz"
    )
    parser.add_argument(
        "--manifest", type=Path, required=True, help="output: manifest, in the root of the data set"
    )
    run(main, parser)
