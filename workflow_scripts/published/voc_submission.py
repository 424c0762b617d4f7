"""Pack the predictions of a test split into the archive that the VOC evaluation server takes."""

import argparse
from pathlib import Path

from i2crc.artifacts.kept import make_once
from i2crc.artifacts.provenance import Origin
from i2crc.data.index import read_index
from i2crc.runtime.log import log
from i2crc.runtime.parser import make_parser, run


def main(arguments: argparse.Namespace) -> None:
    index = read_index(arguments.index)
    origin = Origin(Path(__file__), [arguments.index, *arguments.manifests])

    def make() -> list[bytes]:
        from i2crc.evaluation.submission import pack_submission

        return [pack_submission(index, arguments.manifests)]

    make_once(origin, [arguments.output], make)
    log.info("%s: %d label images, checked", arguments.output, len(index.images))


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--index", type=Path, required=True, help="index of the test split")
    parser.add_argument(
        "--manifests", type=Path, nargs="+", required=True, help="manifests of the predicted labels"
    )
    parser.add_argument("--output", type=Path, required=True, help="output: zip archive")
    run(main, parser)
