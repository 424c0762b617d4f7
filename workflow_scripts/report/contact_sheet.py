"""Draw a contact sheet: some images of a split, with the output of every stage."""

import argparse
import io
from pathlib import Path

from i2crc.artifacts.kept import make_once
from i2crc.artifacts.provenance import Origin
from i2crc.data.index import read_index
from i2crc.runtime.parser import make_parser, run


def parse_column(text: str) -> tuple[str, list[Path]]:
    """Return title and manifests of `NAME=MANIFEST[,MANIFEST...]`."""
    name, _, paths = text.partition("=")
    if not name or not paths:
        raise argparse.ArgumentTypeError(f"`{text}` is not NAME=MANIFEST[,MANIFEST...]")
    return name, [Path(path) for path in paths.split(",")]


def main(arguments: argparse.Namespace) -> None:
    columns = dict(arguments.column)
    inputs = [
        arguments.index,
        arguments.images_csv,
        *(path for paths in columns.values() for path in paths),
    ]
    settings = {"kind": arguments.kind, "count": arguments.count, "columns": list(columns)}

    def draw() -> list[bytes]:
        # Imported here, because a sheet that is already made must not wait for numpy and PIL.
        from i2crc.report.contact_sheet import choose, contact_sheet, read_scores

        index, scores = read_index(arguments.index), read_scores(arguments.images_csv)
        entries = choose(index.images, scores, arguments.kind, arguments.count)
        buffer = io.BytesIO()
        contact_sheet(index, entries, scores, columns).save(buffer, format="PNG")
        return [buffer.getvalue()]

    make_once(Origin(Path(__file__), inputs, settings), [arguments.output], draw)


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--index", type=Path, required=True, help="index of the split")
    parser.add_argument("--images-csv", type=Path, required=True, help="scores per image")
    parser.add_argument(
        "--kind", choices=("best", "median", "worst", "sample"), default="sample",
        help="which images to show; without scores a sample",
    )  # fmt: skip
    parser.add_argument("--count", type=int, default=4, help="rows of the sheet")
    parser.add_argument(
        "--column", type=parse_column, action="append", default=[],
        metavar="NAME=MANIFEST[,MANIFEST...]",
        help="a column, in display order: saliency (grey maps), cam (attention maps), or any other "
        "title with label images",
    )  # fmt: skip
    parser.add_argument("--output", type=Path, required=True, help="output: PNG")
    run(main, parser)
