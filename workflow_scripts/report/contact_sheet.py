"""Draw a contact sheet: some images of a split, with the output of every stage."""

import argparse
import io
from pathlib import Path

from i2crc.artifacts.provenance import Origin
from i2crc.data.index import read_index
from i2crc.report.outputs import make_outputs
from i2crc.runtime.parser import make_parser, run

KINDS = ("best", "median", "worst", "sample")


def parse_column(text: str) -> tuple[str, list[Path]]:
    """Return title and manifests of `NAME=MANIFEST[,MANIFEST...]`."""
    name, _, paths = text.partition("=")
    if not name or not paths:
        raise argparse.ArgumentTypeError(f"`{text}` is not NAME=MANIFEST[,MANIFEST...]")
    return name, [Path(path) for path in paths.split(",")]


def main(arguments: argparse.Namespace) -> None:
    tables = [arguments.images_csv] if arguments.images_csv else []
    manifests = [path for _, paths in arguments.column for path in paths]
    settings = {
        "kind": arguments.kind,
        "count": arguments.count,
        "columns": [name for name, _ in arguments.column],
    }
    origin = Origin(Path(__file__), [arguments.index, *tables, *manifests], settings)

    def draw() -> list[bytes]:
        # Imported here, because a sheet that is already made must not wait for numpy and PIL.
        from i2crc.report.contact_sheet import contact_sheet, read_miou

        miou = read_miou(arguments.images_csv) if arguments.images_csv else {}
        index = read_index(arguments.index)
        sheet = contact_sheet(index, miou, arguments.kind, arguments.count, arguments.column)
        buffer = io.BytesIO()
        sheet.save(buffer, format="PNG")
        return [buffer.getvalue()]

    make_outputs(origin, [arguments.output], draw)


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--index", type=Path, required=True, help="index of the split")
    parser.add_argument("--images-csv", type=Path, help="scores per image, to rank by their miou")
    parser.add_argument("--kind", choices=KINDS, default="sample", help="which images to show")
    parser.add_argument("--count", type=int, default=4, help="rows of the sheet")
    parser.add_argument(
        "--column",
        type=parse_column,
        action="append",
        default=[],
        metavar="NAME=MANIFEST[,MANIFEST...]",
        help="a column, in display order: saliency (grey maps), cam (attention maps), or any other "
        "title with label images",
    )
    parser.add_argument("--output", type=Path, required=True, help="output: PNG")
    run(main, parser)
