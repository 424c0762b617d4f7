"""The prediction over its photograph, with a legend of the classes that are in it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from i2crc.data.images import voc_palette
from i2crc.report.contact_sheet import GAP, LEGEND, LINE, draw_legend
from i2crc.runtime.atomic import atomic_path


def write_overlay(
    path: Path, photo: Image.Image, label: np.ndarray, classes: Sequence[str]
) -> None:
    """Write an RGB photograph under the VOC colours of its (H, W) label, above a legend.

    The background keeps the photograph's own colours. `classes` are the foreground classes.
    """
    palette = voc_palette()
    colors = Image.fromarray(palette[label])
    mixed = Image.composite(Image.blend(photo, colors, 0.5), photo, Image.fromarray(label > 0))
    shown = [(classes[value - 1], palette[value]) for value in np.unique(label) if value]
    shown = shown or [("no class found", palette[0])]
    per_line = max(1, photo.width // LEGEND)
    top = photo.height + GAP
    size = max(photo.width, LEGEND), top + LINE * -(-len(shown) // per_line)
    sheet = Image.new("RGB", size, "white")
    sheet.paste(mixed, (0, 0))
    draw_legend(ImageDraw.Draw(sheet), shown, top, per_line)
    with atomic_path(path) as temporary:
        sheet.save(temporary, quality=90)
