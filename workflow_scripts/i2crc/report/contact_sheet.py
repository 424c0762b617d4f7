"""Contact sheets: some images of a split, each with the outputs of all stages."""

import csv
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup
from PIL import Image

from i2crc.artifacts.manifest import read_manifests
from i2crc.data.images import IGNORE, read_gray, read_label, read_photo, voc_palette
from i2crc.data.index import Entry, Index
from i2crc.report.pages import render
from i2crc.report.tiles import data_uri, heat_tile, label_tile, photo_tile

SIDE = 480  # longer side of a picture, in pixels
MAPS = ("saliency", "cam")  # the columns that are no label images
Scores = Mapping[str, tuple[float, float]]  # image id -> mIoU (255 as background), coverage


def read_scores(path: Path) -> Scores:
    """Return the scores of the images from their CSV file; none of one without a known pixel."""
    with open(path, newline="") as file:
        return {
            row["id"]: (float(row["miou_255_as_background"]), float(row["coverage"]))
            for row in csv.DictReader(file)
            if row["counts"]
        }


def choose(entries: Sequence[Entry], scores: Scores, kind: str, count: int) -> list[Entry]:
    """Return `count` entries of a kind: `best`, `worst`, `median` (nearest to it) or `sample`.

    Entries of the same mIoU are ordered by id. A sample is taken at equal distances; so is every
    kind if no image has scores.
    """
    ranked = sorted((entry for entry in entries if entry.id in scores), key=lambda entry: entry.id)
    if kind == "sample" or not ranked:
        return list(entries[:: max(1, len(entries) // count)][:count])
    median = statistics.median(miou for miou, _ in scores.values())
    rank = {"best": lambda v: -v, "worst": lambda v: v, "median": lambda v: abs(v - median)}[kind]
    return sorted(ranked, key=lambda entry: rank(scores[entry.id][0]))[:count]


def sheet_page(
    kind: str,
    index: Index,
    entries: Sequence[Entry],
    scores: Scores,
    columns: Mapping[str, Sequence[Path]],
) -> Markup:
    """Return the HTML page of some entries of an index, a kind of `choose`.

    columns: title and manifests of each column between the photograph and the ground truth.
    """
    files = {title: read_manifests(manifests) for title, manifests in columns.items()}
    rows, values = [], {IGNORE}
    for entry in entries:
        photo = np.asarray(read_photo(Path(entry.image)))
        pictures = [("image", data_uri(photo_tile(photo, SIDE)))]
        for title in [title for title in columns if title in MAPS]:
            if tile := map_tile(title, files[title], entry, photo, SIDE):
                pictures.append((title, data_uri(tile)))
        labels = {t: files[t][f"{entry.id}.png"][0] for t in columns if t not in MAPS}
        labels |= {"ground truth": Path(entry.mask)} if entry.mask else {}
        for title, path in labels.items():
            label = read_label(path)
            pictures.append((title, data_uri(label_tile(label, SIDE), "png")))
            values.update(np.unique(label).tolist())
        rows.append(
            {
                "id": entry.id,
                "scores": scores.get(entry.id),
                "classes": [index.classes[number] for number in entry.classes or ()],
                "size": entry.size,
                "pictures": pictures,
            }
        )
    return render(
        "contact_sheet.html",
        kind=kind if scores else "sample",
        split=index.split,
        rows=rows,
        legend=legend(index.classes, values),
    )


def legend(classes: Sequence[str], values: Iterable[int]) -> list[tuple[str, str]]:
    """Return name and CSS colour of the label values, sorted, without the background."""
    names = {0: "background", IGNORE: "ignored"} | dict(enumerate(classes, start=1))
    return [
        (names[value], "#{:02x}{:02x}{:02x}".format(*voc_palette()[value]))
        for value in sorted(map(int, values))
        if value
    ]


def map_tile(
    title: str,
    files: Mapping[str, tuple[Path, str]],
    entry: Entry,
    photo: np.ndarray,
    side: int,
) -> Image.Image | None:
    """Return the tile of the maps of an image; None for attention on an image without classes.

    The title `saliency` stands for a grey map, `cam` for attention maps.
    """
    if title == "saliency":
        return photo_tile(read_gray(files[f"{entry.id}.png"][0]), side)
    maps = [read_gray(files[f"{entry.id}_{c}.png"][0]) for c in entry.classes or []]
    return heat_tile(np.max(maps, axis=0), photo, side) if maps else None
