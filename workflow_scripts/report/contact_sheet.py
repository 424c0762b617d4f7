"""Draw contact sheets: some images of a split, with the output of every stage."""

import argparse
from pathlib import Path

from i2crc.artifacts.kept import make_once
from i2crc.artifacts.provenance import Origin
from i2crc.data.index import read_index
from i2crc.runtime.parser import make_parser, run


def main(arguments: argparse.Namespace) -> None:
    columns = {name: [Path(path) for path in paths] for name, *paths in arguments.column}
    inputs = [
        arguments.index,
        arguments.images_csv,
        *(path for paths in columns.values() for path in paths),
    ]
    settings = {"kinds": arguments.kinds, "count": arguments.count, "columns": list(columns)}

    def draw() -> list[bytes]:
        # Imported here, because sheets that are already made must not wait for numpy and PIL.
        from i2crc.report.contact_sheet import choose, read_scores, sheet_page

        index, scores = read_index(arguments.index), read_scores(arguments.images_csv)
        pages = []
        for kind in arguments.kinds:
            entries = choose(index.images, scores, kind, arguments.count)
            pages.append(sheet_page(kind, index, entries, scores, columns).encode())
        return pages

    make_once(Origin(Path(__file__), inputs, settings), arguments.outputs, draw)


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--index", type=Path, required=True, help="index of the split")
    parser.add_argument("--images-csv", type=Path, required=True, help="scores per image")
    parser.add_argument(
        "--kinds", choices=("best", "median", "worst", "sample"), nargs="+", default=["sample"],
        help="which images to show, a sheet of each; without scores a sample",
    )  # fmt: skip
    parser.add_argument("--count", type=int, default=4, help="images of a sheet")
    parser.add_argument(
        "--column", nargs="+", action="append", default=[], metavar=("NAME", "MANIFEST"),
        help="a column, in display order: saliency (grey maps), cam (attention maps), or any other "
        "title with label images",
    )  # fmt: skip
    parser.add_argument("--outputs", type=Path, nargs="+", required=True, help="a page per kind")
    run(main, parser)
