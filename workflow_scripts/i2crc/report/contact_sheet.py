"""Contact sheets: rows of small pictures under column titles, above a legend of colours."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from i2crc.data.images import voc_palette

TILE = 160
GAP = 4
LINE = 24  # height of a line of text
LEGEND = 150  # width of an entry of the legend


@dataclass(frozen=True)
class SheetRow:
    """An image through the stages: its id, what to say of it, a tile per column (None: empty)."""

    id: str
    note: str
    tiles: Sequence[Image.Image | None]


def photo_tile(photo: np.ndarray) -> Image.Image:
    """(H, W, 3) uint8 colours as a picture that fits a tile."""
    return ImageOps.contain(Image.fromarray(photo), (TILE, TILE))


def gray_tile(values: np.ndarray) -> Image.Image:
    """(H, W) uint8 grey values as a picture that fits a tile."""
    return photo_tile(values).convert("RGB")


def heat_tile(values: np.ndarray, photo: np.ndarray) -> Image.Image:
    """(H, W) values in 0..255 as a blue-green-red overlay on an (H, W, 3) uint8 photograph."""
    x = values[..., None] / 255 * 4 - np.array([3, 2, 1])
    colors = np.clip(1.5 - np.abs(x), 0, 1) * 255
    return photo_tile((0.5 * photo + 0.5 * colors).astype(np.uint8))


def label_tile(label: np.ndarray) -> Image.Image:
    """(H, W) uint8 label as a picture in the VOC colours, none of them mixed."""
    colors = Image.fromarray(voc_palette()[label])
    return ImageOps.contain(colors, (TILE, TILE), Image.Resampling.NEAREST)


def draw_sheet(
    titles: Sequence[str], rows: Sequence[SheetRow], labels: Sequence[str]
) -> Image.Image:
    """The sheet of `rows` under `titles`; its legend names `labels`, background first, and 255."""
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
    font: ImageFont.FreeTypeFont,
    top: int,
    row: SheetRow,
) -> None:
    """One row below `top`: a line with id and note, and the tiles under it."""
    draw.line((0, top, canvas.width, top), "#d0d7de")
    space = canvas.width - 4 * GAP - font.getlength(row.note)
    name = shorten(row.id, font, space)
    draw.text((GAP, top + 4), name, "#57606a", font)
    draw.text((3 * GAP + font.getlength(name), top + 4), row.note, "black", font)
    for column, tile in enumerate(row.tiles):
        if tile:
            canvas.paste(tile, (GAP + column * (TILE + GAP), top + LINE))


def shorten(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """`text`, cut to `width` pixels with an ellipsis at its end where it is longer."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"
