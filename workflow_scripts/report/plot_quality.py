"""Make a page on the quality of the saliency maps and of the classifier."""

import argparse
from pathlib import Path

from i2crc.artifacts.provenance import Origin
from i2crc.artifacts.schemas import ClassifierQuality, SaliencyQuality, read_checked
from i2crc.report.outputs import make_outputs
from i2crc.runtime.parser import make_parser, run


def main(arguments: argparse.Namespace) -> None:
    origin = Origin(Path(__file__), [arguments.saliency, arguments.classifier])

    def draw() -> list[bytes]:
        # Imported here, because a page that is already made must not wait for matplotlib.
        from i2crc.report.quality_page import quality_page

        saliency = read_checked(arguments.saliency, SaliencyQuality)
        classifier = read_checked(arguments.classifier, ClassifierQuality)
        return [quality_page(saliency, classifier).encode()]

    make_outputs(origin, [arguments.output], draw)


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--saliency", type=Path, required=True, help="saliency quality as JSON")
    parser.add_argument("--classifier", type=Path, required=True, help="classifier quality as JSON")
    parser.add_argument("--output", type=Path, required=True, help="output: HTML")
    run(main, parser)
