"""Draw the figures of the report, and make its pages of tables."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from i2crc.artifacts.kept import make_once
from i2crc.artifacts.provenance import Origin
from i2crc.artifacts.schemas import Quality, Score, Sweep, read_checked
from i2crc.runtime.errors import counted
from i2crc.runtime.log import log
from i2crc.runtime.parser import make_parser, run

FIGURES = {
    "training": "curves of a training, from its history (CSV)",
    "classes": "IoU of every class, from scores",
    "sizes": "errors by object size, from scores",
    "confusion": "confusion matrix, from a score",
    "sweep_curves": "curves of threshold sweeps, from sweeps",
    "sweep_table": "page of configured and best thresholds, from sweeps",
    "quality": "page on saliency maps and classifier, from the quality of each",
}


def draw(figure: str, inputs: Sequence[Path]) -> str:
    """Return a figure with its caption, or tables, as an HTML page."""
    # Imported here, because a figure that is already made must not wait for matplotlib.
    from i2crc.report.curves import sweep_figure, sweep_page, training_figure
    from i2crc.report.figures import figure_page
    from i2crc.report.quality_page import quality_page
    from i2crc.report.score_figures import class_figure, confusion_figure, size_figure

    match figure:
        case "training":
            drawn = training_figure(inputs[0])
        case "classes":
            drawn = class_figure([read_checked(path, Score) for path in inputs])
        case "sizes":
            drawn = size_figure([read_checked(path, Score) for path in inputs])
        case "confusion":
            drawn = confusion_figure(read_checked(inputs[0], Score))
        case "sweep_curves":
            drawn = sweep_figure([read_checked(path, Sweep) for path in inputs])
        case "sweep_table":
            return sweep_page([read_checked(path, Sweep) for path in inputs])
        case _:
            return quality_page(*(read_checked(path, Quality) for path in inputs))
    return figure_page(f"{figure}.html", drawn)


def draw_once(figure: str, output: Path, inputs: Sequence[Path]) -> None:
    """Draw a figure into `output`, or restore it."""

    def make() -> list[bytes]:
        log.info("%s: is drawn", output)
        return [draw(figure, inputs).encode()]

    make_once(Origin(Path(__file__), inputs, {"figure": figure}), [output], make)


def main(arguments: argparse.Namespace) -> None:
    for figure, output, *inputs in arguments.figure:
        draw_once(figure, Path(output), [Path(name) for name in inputs])
    log.info("%s", counted(len(arguments.figure), "figure"))


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument(
        "--figure", nargs="+", action="append", required=True,
        metavar=("FIGURE OUTPUT", "INPUT"),
        help="a figure, the HTML file to write, and the files to show; "
        + "; ".join(f"{name}: {text}" for name, text in FIGURES.items()),
    )  # fmt: skip
    run(main, parser)
