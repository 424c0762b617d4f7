"""The prediction over its photograph, with a legend of the classes that are in it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from i2crc.data.images import resize_nearest
from i2crc.inference.model import BACKGROUND, Prediction
from i2crc.report.fonts import font_file
from i2crc.runtime.atomic import atomic_path

GAP = 4
LINE = 24  # height of a line of text
LEGEND = 164  # width of an entry of the legend
LETTERS = 18  # longest name in the legend
FONT_SIZE = 12


def write_overlay(path: Path, photo: np.ndarray, prediction: Prediction) -> None:
    """Write an (h, w, 3) uint8 RGB photograph under the colours of its prediction, above a legend.

    The background keeps the photograph's own colours. The legend names each class after its share
    of the photograph.
    """
    image = Image.fromarray(photo)
    label = resize_nearest(prediction.label, image.size)
    colors = Image.fromarray(prediction.colors[label])
    mixed = Image.composite(Image.blend(image, colors, 0.5), image, Image.fromarray(label > 0))
    shown = [
        (f"{share_text(area.share)} {name}", prediction.colors[prediction.classes.index(name) + 1])
        for name, area in prediction.areas.items()
        if name != BACKGROUND
    ]
    shown = shown or [("no class found", prediction.colors[0])]
    per_line = max(1, image.width // LEGEND)
    top = image.height + GAP
    size = max(image.width, LEGEND), top + LINE * -(-len(shown) // per_line)
    sheet = Image.new("RGB", size, "white")
    sheet.paste(mixed, (0, 0))
    draw_legend(ImageDraw.Draw(sheet), shown, top, per_line)
    with atomic_path(path) as temporary:
        sheet.save(temporary, quality=90)


def share_text(share: float) -> str:
    """Return a share, 0..1, in percent; one that is not 0 is not called 0."""
    return "<1%" if 0 < share < 0.01 else f"{share:.0%}"


def draw_legend(
    draw: ImageDraw.ImageDraw, entries: Sequence[tuple[str, np.ndarray]], top: int, per_line: int
) -> None:
    """Draw the names of a legend, each beside its color, `per_line` in a line, from `top` on."""
    for number, (name, color) in enumerate(entries):
        x, y = number % per_line * LEGEND, top + number // per_line * LINE
        draw.rectangle((x, y, x + 16, y + 16), tuple(map(int, color)), "black")
        shown = name if len(name) <= LETTERS else f"{name[: LETTERS - 1]}…"
        font = ImageFont.truetype(font_file(shown), FONT_SIZE)
        draw.text((x + 22, y), shown, "black", font)
