"""The one decoder of photographs, saliency maps and label images."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from i2crc.files import InputError, atomic_path

IGNORE = 255
# What is opened, whatever a file is called; others, such as EPS, Pillow hands to other programs.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
# What Pillow raises on damaged or oversized files.
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


def read_photo(path: Path) -> Image.Image:
    """A photograph as RGB, upright (EXIF orientation applied)."""
    image = _open(path)
    return ImageOps.exif_transpose(image).convert("RGB")


def read_gray(path: Path) -> np.ndarray:
    """An 8-bit single-channel image (saliency, attention) as (H, W) uint8."""
    image = _open(path)
    if image.mode != "L":
        raise InputError(f"{path}: mode {image.mode}, expected 8-bit grey; convert it to mode L")
    return np.asarray(image)


def read_label(path: Path) -> np.ndarray:
    """A label image (palette or grey PNG) as (H, W) uint8 class indices; 255 = ignore."""
    image = _open(path)
    if image.mode not in ("P", "L"):
        raise InputError(
            f"{path}: mode {image.mode}, expected a palette or grey PNG of class indices"
        )
    return np.asarray(image)


def write_label(path: Path, label: np.ndarray) -> None:
    """Write (H, W) uint8 class indices as a palette PNG in the VOC colours, by atomic rename."""
    image = Image.fromarray(label.astype(np.uint8))  # mode L becomes P with the palette
    image.putpalette(voc_palette().tobytes())
    with atomic_path(path) as temporary:
        image.save(temporary)


def write_gray(path: Path, values: np.ndarray) -> None:
    """Write (H, W) uint8 values as a grey PNG, by atomic rename."""
    with atomic_path(path) as temporary:
        Image.fromarray(values).save(temporary)


def voc_palette() -> np.ndarray:
    """The VOC colour map, (256, 3) uint8: the bits of the index, dealt out to R, G and B."""
    index = np.arange(256)[:, None]
    channel = np.arange(3)[None, :]
    colors = np.zeros((256, 3), dtype=np.uint8)
    for j in range(8):
        colors |= (((index >> (3 * j + channel)) & 1) << (7 - j)).astype(np.uint8)
    return colors


def _open(path: Path) -> Image.Image:
    try:
        image = Image.open(path, formats=FORMATS)
        image.load()
    except FileNotFoundError as error:
        raise InputError(f"{path}: missing") from error
    except UNREADABLE as error:
        raise InputError(f"{path}: cannot be decoded ({error}); replace the file") from error
    return image
