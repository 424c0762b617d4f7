"""Contact sheets: images of a split in rows, the outputs of the stages in columns."""

import csv
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from i2crc.artifacts.manifest import read_manifests
from i2crc.data.images import read_gray, read_label, read_photo, voc_palette
from i2crc.data.index import Entry, Index
from i2crc.runtime.errors import InputError
from i2crc.runtime.log import log

TILE = 160  # largest width and height of a tile, in pixels
GAP = 4
LINE = 24  # height of a line of text
LEGEND = 150  # width of an entry of the legend
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
# Makes the tile of an image from its entry and its (H, W, 3) photograph; None: an empty place.
Column = Callable[[Entry, np.ndarray], Image.Image | None]


@dataclass(frozen=True)
class SheetRow:
    """An image of the sheet: its id, a note, and a tile per column (None: an empty place)."""

    id: str
    note: str
    tiles: Sequence[Image.Image | None]


def contact_sheet(
    index: Index,
    miou: Mapping[str, float],
    kind: str,
    count: int,
    columns: Sequence[tuple[str, Sequence[Path]]],
) -> Image.Image:
    """Return the sheet of `count` images of a kind (see `choose`).

    miou: image id -> mIoU. columns: title and manifests of each column between the photograph and
    the ground truth.
    """
    if kind != "sample" and not miou:
        log.info("no image has a score: a sample is drawn instead of the %s", kind)
    makers = [make_column(title, manifests) for title, manifests in columns]

    def row(entry: Entry) -> SheetRow:
        photo = np.asarray(read_photo(Path(entry.image)))
        truth = label_tile(read_label(Path(entry.mask))) if entry.mask else None
        note = f"IoU {miou[entry.id]:.2f}" if entry.id in miou else ""
        tiles = [photo_tile(photo), *(make(entry, photo) for make in makers), truth]
        return SheetRow(entry.id, note, tiles)

    rows = [row(entry) for entry in choose(index.images, miou, kind, count)]
    titles = ["image", *(title for title, _ in columns), "ground truth"]
    return draw_sheet(titles, rows, ["background", *index.classes])


def read_miou(path: Path) -> dict[str, float]:
    """Return image id -> mIoU from the scores per image, without images that have no mIoU."""
    try:
        with open(path, newline="") as file:
            return {row["id"]: float(row["miou"]) for row in csv.DictReader(file) if row["miou"]}
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path}: no table of scores ({error!r}); run score again") from error


def choose(
    entries: Sequence[Entry], miou: Mapping[str, float], kind: str, count: int
) -> list[Entry]:
    """Return the first `count` entries of a kind, ordered by rank, then by id.

    Kinds: `best`, `worst` and `median` (nearest to the median) rank the images that have a mIoU.
    `sample` is a `spread` over all images, and so is every kind if no image has a mIoU.
    """
    ranked = [entry for entry in entries if entry.id in miou]
    if kind == "sample" or not ranked:
        return spread(entries, count)
    median = statistics.median(miou.values())
    rank = {"best": lambda v: -v, "worst": lambda v: v, "median": lambda v: abs(v - median)}[kind]
    return sorted(ranked, key=lambda entry: (rank(miou[entry.id]), entry.id))[:count]


def spread(entries: Sequence[Entry], count: int) -> list[Entry]:
    """Return `count` entries at equal distances, sorted by id.

    Half of them have several classes, if there are enough of both. An entry of unknown classes
    counts as one of a single class.
    """
    several = [e for e in entries if len(e.classes or []) > 1]
    single = [e for e in entries if len(e.classes or []) <= 1]
    count = min(count, len(entries))
    share = min(len(several), max(count // 2, count - len(single)))
    chosen = []
    for group, number in ((several, share), (single, count - share)):
        chosen += [group[i * len(group) // number] for i in range(number)]
    return sorted(chosen, key=lambda entry: entry.id)


def make_column(title: str, manifests: Sequence[Path]) -> Column:
    """Return what makes the tiles of a column.

    The title `saliency` stands for grey maps, `cam` for attention maps, any other for label images.
    """
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

    return {"saliency": saliency, "cam": cam}.get(title, label)


def photo_tile(photo: np.ndarray) -> Image.Image:
    """Return (H, W, 3) uint8 colours as a tile."""
    return ImageOps.contain(Image.fromarray(photo), (TILE, TILE))


def gray_tile(values: np.ndarray) -> Image.Image:
    """Return (H, W) uint8 grey values as a tile."""
    return photo_tile(values).convert("RGB")


def heat_tile(values: np.ndarray, photo: np.ndarray) -> Image.Image:
    """Return (H, W) values in 0..255, blue to red, over an (H, W, 3) uint8 photograph as a tile."""
    x = values[..., None] / 255 * 4 - np.array([3, 2, 1])
    colors = np.clip(1.5 - np.abs(x), 0, 1) * 255
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
    width = len(titles) * (TILE + GAP) + GAP
    heights = [max(tile.height for tile in row.tiles if tile) + LINE + GAP for row in rows]
    per_line = max(1, width // LEGEND)
    lines = -(-(len(labels) + 1) // per_line)
    body = LINE + sum(heights)
    canvas = Image.new("RGB", (width, body + GAP + lines * LINE), "white")
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(14)
    for column, title in enumerate(titles):
        left = GAP + column * (TILE + GAP)
        draw.text((left, 4), shorten(title, font, TILE), "black", font)
    top = LINE
    for row, height in zip(rows, heights, strict=True):
        draw_row(canvas, draw, font, top, row)
        top += height
    entries = [*zip(labels, voc_palette(), strict=False), ("ignored", voc_palette()[255])]
    for number, (name, color) in enumerate(entries):
        x, y = GAP + number % per_line * LEGEND, body + GAP + number // per_line * LINE
        draw.rectangle((x, y, x + 16, y + 16), tuple(map(int, color)), "black")
        draw.text((x + 22, y), shorten(name, font, LEGEND - 26), "black", font)
    return canvas


def draw_row(
    canvas: Image.Image,
    draw: ImageDraw.ImageDraw,
    font: Font,
    top: int,
    row: SheetRow,
) -> None:
    """Draw a row below `top`: a line with id and note, and the tiles under it."""
    draw.line((0, top, canvas.width, top), "#d0d7de")
    space = canvas.width - 4 * GAP - font.getlength(row.note)
    name = shorten(row.id, font, space)
    draw.text((GAP, top + 4), name, "#57606a", font)
    draw.text((3 * GAP + font.getlength(name), top + 4), row.note, "black", font)
    for column, tile in enumerate(row.tiles):
        if tile:
            canvas.paste(tile, (GAP + column * (TILE + GAP), top + LINE))


def shorten(text: str, font: Font, width: float) -> str:
    """Return `text`, cut and ended with an ellipsis if it is longer than `width` pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"
