"""Draw a contact sheet: for some images of a split, what every stage made of them."""

import argparse
import csv
import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from i2crc.artifacts.manifest import read_manifests
from i2crc.artifacts.provenance import Origin, write_beside
from i2crc.data.images import read_gray, read_label, read_photo
from i2crc.data.index import Entry, read_index
from i2crc.report.contact_sheet import (
    SheetRow,
    draw_sheet,
    gray_tile,
    heat_tile,
    label_tile,
    photo_tile,
)
from i2crc.runtime.atomic import atomic_path
from i2crc.runtime.errors import InputError
from i2crc.runtime.log import log
from i2crc.runtime.parser import make_parser, run

KINDS = ("best", "median", "worst", "sample")
Column = Callable[[Entry, np.ndarray], Image.Image | None]


def parse_column(text: str) -> tuple[str, list[Path]]:
    """Title and manifests of `NAME=MANIFEST[,MANIFEST...]`."""
    name, _, paths = text.partition("=")
    if not name or not paths:
        raise argparse.ArgumentTypeError(f"`{text}` is not NAME=MANIFEST[,MANIFEST...]")
    return name, [Path(path) for path in paths.split(",")]


def read_miou(path: Path) -> dict[str, float]:
    """Image id -> mIoU from the scores per image; images without one are left out."""
    try:
        with open(path, newline="") as file:
            return {row["id"]: float(row["miou"]) for row in csv.DictReader(file) if row["miou"]}
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path}: no table of scores ({error!r}); run score again") from error


def choose(entries: list[Entry], miou: dict[str, float], kind: str, count: int) -> list[Entry]:
    """The `count` entries of a kind, in order of their rank, ties by id.

    best, worst and median (the nearest to it) are of the images with a mIoU; `sample`, and every
    kind where no image has one, is a `spread` of all.
    """
    ranked = [entry for entry in entries if entry.id in miou]
    if kind == "sample" or not ranked:
        return spread(entries, count)
    median = statistics.median(miou.values())
    rank = {"best": lambda v: -v, "worst": lambda v: v, "median": lambda v: abs(v - median)}[kind]
    return sorted(ranked, key=lambda entry: (rank(miou[entry.id]), entry.id))[:count]


def spread(entries: list[Entry], count: int) -> list[Entry]:
    """`count` entries at equal distances, half of them with several classes where there are such.

    They are sorted by id; an entry of unknown classes counts as one of a single class.
    """
    several = [e for e in entries if len(e.classes or []) > 1]
    single = [e for e in entries if len(e.classes or []) <= 1]
    count = min(count, len(entries))
    share = min(len(several), max(count // 2, count - len(single)))
    chosen = []
    for group, number in ((several, share), (single, count - share)):
        chosen += [group[i * len(group) // number] for i in range(number)]
    return sorted(chosen, key=lambda entry: entry.id)


def make_column(name: str, manifests: list[Path]) -> Column:
    """How the tile of a column is made of an image: by what the column's files hold."""
    files = {file: path for file, (path, _) in read_manifests(manifests).items()}

    def path_of(file: str) -> Path:
        if file not in files:
            named = ", ".join(map(str, manifests))
            raise InputError(f"{named}: no {file}; run the stage that makes it again")
        return files[file]

    def saliency(entry: Entry, photo: np.ndarray) -> Image.Image:
        return gray_tile(read_gray(path_of(f"{entry.id}.png")))

    def cam(entry: Entry, photo: np.ndarray) -> Image.Image | None:
        if not entry.classes:
            return None
        maps = [read_gray(path_of(f"{entry.id}_{c}.png")) for c in entry.classes]
        return heat_tile(np.max(maps, axis=0), photo)

    def label(entry: Entry, photo: np.ndarray) -> Image.Image:
        return label_tile(read_label(path_of(f"{entry.id}.png")))

    return {"saliency": saliency, "cam": cam}.get(name, label)


def main(arguments: argparse.Namespace) -> None:
    index = read_index(arguments.index)
    tables = [arguments.images_csv] if arguments.images_csv else []
    miou = read_miou(arguments.images_csv) if tables else {}
    if arguments.kind != "sample" and not miou:
        log.info("no image has a score: a sample is drawn instead of the %s", arguments.kind)
    columns = [make_column(*column) for column in arguments.column]

    def row(entry: Entry) -> SheetRow:
        photo = np.asarray(read_photo(Path(entry.image)))
        truth = label_tile(read_label(Path(entry.mask))) if entry.mask else None
        note = f"IoU {miou[entry.id]:.2f}" if entry.id in miou else ""
        tiles = [photo_tile(photo), *(column(entry, photo) for column in columns), truth]
        return SheetRow(entry.id, note, tiles)

    rows = [row(entry) for entry in choose(index.images, miou, arguments.kind, arguments.count)]
    titles = ["image", *(name for name, _ in arguments.column), "ground truth"]
    with atomic_path(arguments.output) as temporary:
        draw_sheet(titles, rows, ["background", *index.classes]).save(temporary)
    origin = Origin(
        Path(__file__),
        inputs=[
            arguments.index,
            *tables,
            *(path for _, paths in arguments.column for path in paths),
        ],
        settings={"kind": arguments.kind, "count": arguments.count},
    )
    write_beside(arguments.output, origin.describe(arguments.output))


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
