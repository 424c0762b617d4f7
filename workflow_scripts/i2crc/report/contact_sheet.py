"""Contact sheets: images of a split in rows, the outputs of the stages in columns."""

import csv
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps, get_data_path
from PIL import Image, ImageDraw, ImageFont, ImageOps

from i2crc.artifacts.manifest import read_manifests
from i2crc.data.images import read_gray, read_label, read_photo, voc_palette
from i2crc.data.index import Entry, Index

TILE = 160  # largest width and height of a tile, in pixels
GAP = 4
LINE = 24  # height of a line of text
LEGEND = 164  # width of an entry of the legend
LETTERS = 18  # longest name in the legend
# Pillow's own font has no letters beyond English.
FONT = ImageFont.truetype(Path(get_data_path(), "fonts/ttf/DejaVuSans.ttf"), 12)
Scores = Mapping[str, tuple[float, float]]  # image id -> mIoU (255 as background), coverage
# A line of text, and a tile per column (None: an empty place).
SheetRow = tuple[str, Sequence[Image.Image | None]]


def read_scores(path: Path) -> Scores:
    """Return the scores of the images from their CSV file."""
    with open(path, newline="") as file:
        return {
            row["id"]: (float(row["miou_255_as_background"]), float(row["coverage"]))
            for row in csv.DictReader(file)
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


def contact_sheet(
    index: Index,
    entries: Sequence[Entry],
    scores: Scores,
    columns: Mapping[str, Sequence[Path]],
) -> Image.Image:
    """Return the sheet of some entries of an index.

    columns: title and manifests of each column between the photograph and the ground truth.
    """
    files = {title: read_manifests(manifests) for title, manifests in columns.items()}
    rows: list[SheetRow] = []
    for entry in entries:
        photo = np.asarray(read_photo(Path(entry.image)))
        tiles = [column_tile(title, files[title], entry, photo) for title in columns]
        truth = label_tile(read_label(Path(entry.mask))) if entry.mask else None
        text = entry.id
        if entry.id in scores:
            miou, coverage = scores[entry.id]
            text = f"mIoU {miou:.3f}, coverage {coverage:.3f}   {entry.id}"
        rows.append((text, [photo_tile(photo), *tiles, truth]))
    titles = ["image", *columns, "ground truth"]
    return draw_sheet(titles, rows, ["background", *index.classes])


def column_tile(
    title: str, files: Mapping[str, tuple[Path, str]], entry: Entry, photo: np.ndarray
) -> Image.Image | None:
    """Return the tile of an image in a column.

    The title `saliency` stands for grey maps, `cam` for attention maps, any other for label images.
    """
    if title == "cam":
        maps = [read_gray(files[f"{entry.id}_{c}.png"][0]) for c in entry.classes or []]
        return heat_tile(np.max(maps, axis=0), photo) if maps else None
    path = files[f"{entry.id}.png"][0]
    return photo_tile(read_gray(path)) if title == "saliency" else label_tile(read_label(path))


def photo_tile(values: np.ndarray) -> Image.Image:
    """Return (H, W, 3) or grey (H, W) uint8 values as a tile."""
    return ImageOps.contain(Image.fromarray(values), (TILE, TILE))


def heat_tile(values: np.ndarray, photo: np.ndarray) -> Image.Image:
    """Return (H, W) uint8 values, blue to red, over an (H, W, 3) uint8 photograph as a tile."""
    colors = colormaps["jet"](values, bytes=True)[..., :3]
    return photo_tile((0.5 * photo + 0.5 * colors).astype(np.uint8))


def label_tile(label: np.ndarray) -> Image.Image:
    """Return an (H, W) uint8 label as a tile in the VOC colours; no two colours are mixed."""
    colors = Image.fromarray(voc_palette()[label])
    return ImageOps.contain(colors, (TILE, TILE), Image.Resampling.NEAREST)


def draw_sheet(
    titles: Sequence[str], rows: Sequence[SheetRow], labels: Sequence[str]
) -> Image.Image:
    """Return the sheet of `rows` under `titles`, with a legend.

    The legend has the colours of `labels` (the background first) and of 255 (ignored).
    """
    width = len(titles) * (TILE + GAP)
    heights = [LINE + GAP + max(tile.height for tile in tiles if tile) for _, tiles in rows]
    legend = [*zip(labels, voc_palette(), strict=False), ("ignored", voc_palette()[255])]
    per_line = max(1, width // LEGEND)
    top = LINE + sum(heights)
    sheet = Image.new("RGB", (width, top + LINE * -(-len(legend) // per_line)), "white")
    draw = ImageDraw.Draw(sheet)
    draw_legend(draw, legend, top, per_line)
    for column, title in enumerate(titles):
        draw.text((column * (TILE + GAP), 4), title, "black", FONT)
    top = LINE
    for (text, tiles), height in zip(rows, heights, strict=True):
        draw.line((0, top, width, top), "#d0d7de")
        draw.text((0, top + 4), text, "#57606a", FONT)
        for column, tile in enumerate(tiles):
            if tile:
                sheet.paste(tile, (column * (TILE + GAP), top + LINE))
        top += height
    return ImageOps.expand(sheet, GAP, "white")


def draw_legend(
    draw: ImageDraw.ImageDraw, entries: Sequence[tuple[str, np.ndarray]], top: int, per_line: int
) -> None:
    """Draw the names of a legend, each beside its color, `per_line` in a line, from `top` on."""
    for number, (name, color) in enumerate(entries):
        x, y = number % per_line * LEGEND, top + number // per_line * LINE
        draw.rectangle((x, y, x + 16, y + 16), tuple(map(int, color)), "black")
        shown = name if len(name) <= LETTERS else f"{name[: LETTERS - 1]}…"
        draw.text((x + 22, y), shown, "black", FONT)
