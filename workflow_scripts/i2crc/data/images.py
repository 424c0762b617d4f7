"""The one decoder of photographs, saliency maps and label images.

The content of a file determines its format, not its name. A photograph of any kind becomes 8-bit
RGB: the upper 8 bits of 16, transparent pixels over white, upright according to its EXIF data.
"""

import functools
import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageChops, UnidentifiedImageError

from i2crc.runtime.atomic import atomic_path
from i2crc.runtime.errors import FileError

IGNORE = 255
# Blue, green, red: of the images that Caffe's networks were trained on (METHOD 19, 25).
CAFFE_MEAN = (104.008, 116.669, 122.675)
# Pillow would start a program to decode some other formats, such as PostScript.
FORMATS: tuple[str, ...] = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
with suppress(ImportError):
    from pillow_heif import register_heif_opener

    register_heif_opener()
    FORMATS += ("HEIF",)
LOSSY = ("JPEG", "MPO", "WEBP", "HEIF")
# What the files of phones (.heic) begin with, after four bytes.
HEIF = (b"ftyphei", b"ftyphev", b"ftypmif1", b"ftypmsf1")
# Modes whose pixels can be averaged as they are.
SMOOTH = ("L", "RGB", "CMYK")
# The most pixels that any stage decodes; `dataset.max_pixels` sets a lower limit.
MOST_PIXELS = 1 << 27
# The limits here replace that of Pillow against decompression bombs.
Image.MAX_IMAGE_PIXELS = None
# Labels and maps are smooth: runs of one byte compress as well as all repetitions, and in a third
# of the time.
FAST = {"compress_type": zlib.Z_RLE}
# What Pillow raises on damaged files.
UNREADABLE = (
    OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, OverflowError, struct.error,
)  # fmt: skip
# Orientation of EXIF -> what makes the image upright. `ImageOps.exif_transpose` also writes the
# EXIF data anew, and fails if some of them are damaged.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SMALLER = (
    "make it smaller (with its mask and saliency map), or raise dataset.max_pixels if the machine "
    "has the memory"
)
AS_LABEL = (
    "save it as a palette or 8-bit grey PNG whose pixel values are the classes "
    "(0 background, 255 ignored)"
)


def photo_size(path: Path, max_pixels: int = MOST_PIXELS) -> tuple[int, int]:
    """Return the (width, height) of a photograph, upright. Only its header is read."""
    with _opened(path, max_pixels) as image:
        # Pillow has already turned the size of a TIFF.
        orientation = None if image.format == "TIFF" else image.getexif()
        turned = orientation and orientation.get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
        return image.size[::-1] if turned else image.size


def mask_size(path: Path) -> tuple[int, int] | None:
    """Return the (width, height) of an image that has the form of a mask; None for others.

    It has a palette, is grey, or has no more colours than there are classes.
    """
    try:
        with _opened(path, MOST_PIXELS) as image:
            is_mask = image.mode in ("1", "P", "L") or image.getcolors(IGNORE + 1)
            return image.size if is_mask else None
    except FileError:
        return None


def image_format(path: Path) -> str:
    """Return the format of an image file, JPEG for example; "" if its EXIF data turn the image."""
    with _opened(path, MOST_PIXELS) as image:
        is_turned = image.getexif().get(ExifTags.Base.Orientation) in TURNS
        return "" if is_turned else image.format or ""


def read_photo(path: Path, max_pixels: int = MOST_PIXELS, max_side: int = 0) -> Image.Image:
    """Return a photograph as RGB, upright (EXIF orientation applied).

    If its longer side is above `max_side` (0: never), it is made that long. Raise FileError if it
    is missing, damaged, or larger than `max_pixels`; so do all readers here.
    """
    with _decoded(path, max_pixels, max_side) as image:
        photo = upright_rgb(image, path)
    shrink(photo, max_side)
    return photo


def upright_rgb(image: Image.Image, path: Path | str) -> Image.Image:
    """Return a copy of an image as RGB, upright (EXIF orientation applied); errors name `path`."""
    image.load()  # which turns a TIFF
    turn = TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    image = image if turn is None else image.transpose(turn)
    if image.mode in ("I", "F"):
        problem = f"mode {image.mode}, whose values have no fixed range"
        raise FileError(path, problem, "save it with 8 bits")
    if image.mode.startswith("I;16"):
        # Pillow reads 16-bit colour like this, but clips 16-bit grey at 255.
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def working_copy(photo: Image.Image) -> bytes:
    """Return a photograph that `read_photo` has made smaller as a JPEG, which the stages read."""
    content = io.BytesIO()
    photo.save(content, "JPEG", quality=95, subsampling="4:4:4", comment="")
    return content.getvalue()


def read_gray(path: Path) -> np.ndarray:
    """Return an 8-bit grey image (saliency, attention) as (H, W) uint8."""
    with _decoded(path) as image:
        if image.mode != "L":
            raise FileError(path, f"mode {image.mode}, expected 8-bit grey", "convert it to mode L")
        return np.asarray(image)


def read_label(path: Path, max_pixels: int = MOST_PIXELS) -> np.ndarray:
    """Return a label image as (H, W) uint8: 0 background, 255 ignored.

    It has a palette, 8-bit grey, or 1 bit per pixel (0 and 1).
    """
    with _decoded(path, max_pixels) as image:
        if image.mode not in ("1", "P", "L"):
            raise FileError(path, f"mode {image.mode}, which holds no class indices", AS_LABEL)
        if image.format in LOSSY:
            raise FileError(path, f"a {image.format}, which changes pixel values", AS_LABEL)
        return np.asarray(image, np.uint8)


def read_saliency(path: Path, max_pixels: int = MOST_PIXELS) -> Image.Image:
    """Return a user's saliency map in mode L.

    Grey in another mode is converted, and then `format` is None. Raise FileError for colour,
    transparency and more than 8 bits.
    """
    remedy = "save it as an 8-bit grey PNG, 255 = salient"
    with _decoded(path, max_pixels) as image:
        if image.mode == "L":
            return image
        if image.mode not in ("1", "P", "PA", "RGB", "RGBA", "LA"):
            raise FileError(path, f"mode {image.mode}, not 8-bit grey", remedy)
        red, green, blue, alpha = image.convert("RGBA").split()
        if alpha.getextrema() != (255, 255):
            raise FileError(path, "transparent, not plain grey", remedy)
        if any(ImageChops.difference(red, other).getbbox() for other in (green, blue)):
            raise FileError(path, "colour, not grey", remedy)
        return red


def resize_nearest(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return (H, W) uint8 values resized to `size` (width, height); the nearest pixel is taken.

    Values that have this size are returned as they are.
    """
    if values.shape == size[::-1]:
        return values
    return np.asarray(Image.fromarray(values).resize(size, Image.Resampling.NEAREST))


def write_label(
    path: Path,
    label: np.ndarray,
    size: tuple[int, int] | None = None,
    colors: np.ndarray | None = None,
) -> None:
    """Write (H, W) class indices 0..255 as a palette PNG in the VOC colours, by atomic rename.

    The file has the (width, height) `size`, if that is given; the nearest pixel is taken. The rows
    of `colors`, (N, 3) uint8, replace the colours of the indices below N.
    """
    palette = voc_palette().copy()
    if colors is not None:
        palette[: len(colors)] = colors
    image = Image.fromarray(label.astype(np.uint8))
    image = image.resize(size, Image.Resampling.NEAREST) if size else image
    image.putpalette(palette.tobytes())  # changes mode L to P
    with atomic_path(path) as temporary:
        image.save(temporary, "PNG", **FAST)


def write_gray(path: Path, values: np.ndarray) -> None:
    """Write (H, W) uint8 values as a grey PNG, by atomic rename."""
    with atomic_path(path) as temporary:
        Image.fromarray(values).save(temporary, "PNG", **FAST)


@functools.cache
def voc_palette() -> np.ndarray:
    """Return the VOC colour map, (256, 3) uint8: the bits of an index spread over R, G and B.

    Do not change it in place: all callers share it.
    """
    index, channel = np.arange(256)[:, None], np.arange(3)
    bits = [((index >> (3 * bit + channel)) & 1) << (7 - bit) for bit in range(8)]
    return np.sum(bits, 0).astype(np.uint8)


def shrink(image: Image.Image, max_side: int) -> None:
    """Make the longer side of an image `max_side`, if it is longer (0: never).

    A JPEG that is not decoded yet is decoded at a fraction of its size, at least twice `max_side`.
    """
    if max_side:
        image.thumbnail((max_side, max_side), Image.Resampling.LANCZOS, reducing_gap=2)


@contextmanager
def _decoded(path: Path, max_pixels: int = MOST_PIXELS, max_side: int = 0) -> Iterator[Image.Image]:
    """Yield the decoded image of a file, as `_opened` does.

    The image may be larger than `max_side` if its pixels cannot be averaged yet.
    """
    with _opened(path, max_pixels) as image:
        if image.mode in SMOOTH:
            shrink(image, max_side)
        image.load()
        yield image


@contextmanager
def _opened(path: Path, max_pixels: int) -> Iterator[Image.Image]:
    """Yield the image of a file; raise FileError for anything wrong with the file."""
    if not path.is_file():
        raise FileError(path, "missing", "add it, or take its image out of the list")
    try:
        with Image.open(path, formats=FORMATS) as image:
            # The header states the size, so a bomb is refused before it is decoded.
            if image.width * image.height > max_pixels:
                size = f"{image.width}x{image.height}"
                raise FileError(path, f"{size} pixels, more than the {max_pixels} allowed", SMALLER)
            yield image
    except UNREADABLE as error:
        reason, remedy = getattr(error, "strerror", None) or str(error), "replace the file"
        if isinstance(error, PermissionError):
            remedy = "make it readable (chmod, chown)"
        elif path.stat().st_size == 0:
            reason = "it is empty"
        elif isinstance(error, UnidentifiedImageError):
            reason = f"no {', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
            with open(path, "rb") as file:
                if "HEIF" not in FORMATS and file.read(16)[4:].startswith(HEIF):
                    reason, remedy = "HEIC", "install pillow-heif, or save it as a JPEG"
        raise FileError(path, f"cannot be decoded ({reason})", remedy) from error
