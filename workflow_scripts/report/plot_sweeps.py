"""Draw the threshold sweeps, and make a page of the configured and the best values."""

import argparse
from pathlib import Path

from i2crc.artifacts.provenance import Origin
from i2crc.artifacts.schemas import Sweep, read_checked
from i2crc.report.outputs import make_outputs
from i2crc.runtime.parser import make_parser, run


def main(arguments: argparse.Namespace) -> None:
    origin = Origin(Path(__file__), arguments.sweeps)

    def draw() -> list[bytes]:
        # Imported here, because outputs that are already made must not wait for matplotlib.
        from i2crc.report.figures import svg
        from i2crc.report.sweep_figures import sweep_figure, sweep_page

        sweeps = [read_checked(path, Sweep) for path in arguments.sweeps]
        return [svg(sweep_figure(sweeps)), sweep_page(sweeps).encode()]

    make_outputs(origin, [arguments.output, arguments.table], draw)


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--sweeps", type=Path, nargs="+", required=True, help="sweeps as JSON")
    parser.add_argument("--output", type=Path, required=True, help="output: curves as SVG")
    parser.add_argument("--table", type=Path, required=True, help="output: table as HTML")
    run(main, parser)
