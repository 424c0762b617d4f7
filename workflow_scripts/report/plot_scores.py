"""Draw the IoU of every class at some stages, and the confusion matrix of the last of them."""

import argparse
from pathlib import Path

from i2crc.artifacts.provenance import Origin
from i2crc.artifacts.schemas import Score, read_checked
from i2crc.report.outputs import make_outputs
from i2crc.runtime.parser import make_parser, run


def main(arguments: argparse.Namespace) -> None:
    origin = Origin(Path(__file__), arguments.scores)

    def draw() -> list[bytes]:
        # Imported here, because figures that are already made must not wait for matplotlib.
        from i2crc.report.figures import svg
        from i2crc.report.score_figures import class_figure, confusion_figure

        scores = [read_checked(path, Score) for path in arguments.scores]
        return [svg(class_figure(scores)), svg(confusion_figure(scores[-1]))]

    make_outputs(origin, [arguments.per_class, arguments.confusion], draw)


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--scores", type=Path, nargs="+", required=True, help="scores as JSON")
    parser.add_argument("--per-class", type=Path, required=True, help="output: IoU bars as SVG")
    parser.add_argument("--confusion", type=Path, required=True, help="output: matrix as SVG")
    run(main, parser)
