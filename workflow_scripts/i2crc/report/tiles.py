"""Tiles: photographs, maps and labels as small pictures, for contact sheets and the gallery."""

import base64
import io

import numpy as np
from matplotlib import colormaps
from PIL import Image

from i2crc.data.images import resize_nearest, voc_palette

TILE = 160  # largest width and height of a tile, in pixels


def photo_tile(values: np.ndarray, side: int = TILE) -> Image.Image:
    """Return (H, W, 3) or grey (H, W) uint8 values as a tile."""
    return _fit(Image.fromarray(values), side, Image.Resampling.BICUBIC)


def heat_tile(values: np.ndarray, photo: np.ndarray, side: int = TILE) -> Image.Image:
    """Return (H, W) uint8 values, blue to red, over an (H, W, 3) uint8 photograph as a tile."""
    colors = colormaps["jet"](values, bytes=True)[..., :3]
    return photo_tile((0.5 * photo + 0.5 * colors).astype(np.uint8), side)


def label_tile(label: np.ndarray, side: int = TILE) -> Image.Image:
    """Return an (H, W) uint8 label as a tile in the VOC colours; no two colours are mixed."""
    small = _fit(Image.fromarray(label), side, Image.Resampling.NEAREST)
    return Image.fromarray(voc_palette()[np.asarray(small)])


def overlay_tile(photo: np.ndarray, label: np.ndarray, side: int = TILE) -> Image.Image:
    """Return an (H, W, 3) uint8 photograph under the VOC colours of its label as a tile.

    The background is bare. The label may have another size than the photograph.
    """
    tile = photo_tile(photo, side)
    label = resize_nearest(label, tile.size)
    colors = Image.fromarray(voc_palette()[label])
    return Image.composite(Image.blend(tile, colors, 0.5), tile, Image.fromarray(label > 0))


def data_uri(picture: Image.Image, kind: str = "jpeg") -> str:
    """Return a picture as the address of an image in a page: `jpeg`, or `png` for labels."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **({"quality": 85} if kind == "jpeg" else {"optimize": True}))
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _fit(picture: Image.Image, side: int, method: Image.Resampling) -> Image.Image:
    """Return a picture whose longer side is `side`, the other at least one pixel."""
    longer = max(picture.size)
    width, height = (max(1, round(length / longer * side)) for length in picture.size)
    return picture.resize((width, height), method)
