"""Put the scores of all stages into one table, in the order they are given."""

import argparse
from pathlib import Path

from i2crc.console import make_parser, run
from i2crc.files import read_json, write_bytes

COLUMNS = {
    "stage": "Stage",
    "split": "Split",
    "images": "Images",
    "miou": "mIoU",
    "miou_255_as_background": "255 as background",
    "miou_255_as_wrong": "255 as wrong",
    "coverage": "Coverage",
    "pixel_accuracy": "Pixel accuracy",
}


def table(rows: list[list[str]]) -> str:
    """A Markdown table whose columns line up; the first row is the header."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(f"{c:<{w}}" for c, w in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines) + "\n"


def cell(value: str | int | float | None) -> str:
    """Fractions with four digits, - for what was not measured, everything else as it is."""
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def main(arguments: argparse.Namespace) -> None:
    results = [read_json(path) for path in arguments.scores]
    rows = [list(COLUMNS.values())]
    rows += [[cell(result[key]) for key in COLUMNS] for result in results]
    write_bytes(arguments.output, table(rows).encode())


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--scores", type=Path, nargs="+", required=True, help="scores as JSON")
    parser.add_argument("--output", type=Path, required=True, help="output: table as Markdown")
    run(main, parser)
