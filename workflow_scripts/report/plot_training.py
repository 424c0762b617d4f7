"""Draw the losses and the learning rate of a training over its iterations."""

import argparse
from pathlib import Path

from i2crc.artifacts.provenance import Origin
from i2crc.report.outputs import make_outputs
from i2crc.runtime.parser import make_parser, run


def main(arguments: argparse.Namespace) -> None:
    origin = Origin(Path(__file__), [arguments.history], {"title": arguments.title})

    def draw() -> list[bytes]:
        # Imported here, because a figure that is already made must not wait for matplotlib.
        from i2crc.report.figures import svg
        from i2crc.report.training_curves import read_history, training_figure

        return [svg(training_figure(read_history(arguments.history), arguments.title))]

    make_outputs(origin, [arguments.output], draw)


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--history", type=Path, required=True, help="history of the training, CSV")
    parser.add_argument("--title", required=True, help="title of the figure")
    parser.add_argument("--output", type=Path, required=True, help="output: SVG")
    run(main, parser)
