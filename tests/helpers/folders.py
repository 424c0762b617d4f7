"""A small data set of strange but good images, under names that would break a shell."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image

from i2crc.data.images import read_photo, write_gray, write_label

SIZE = (40, 32)
CLASSES = ["cat", "dining table"]
# Id -> how its photograph is stored.
TRAIN = {
    "$(touch x)": "JPEG",
    "; touch y #": "grey",
    "a b 'c' \"d\"": "CMYK",
    "-rf": "RGBA",
    "*.1.2": "16 bit",
    "\u00e9": "rotated",
    "e\u0301, `touch z`": "PNG",
    "\u732b {shard} %s \\n": "palette",
    "1x1": "tiny",
    "3 * 3": "large",
}
VAL = {
    "val $(touch v)": "JPEG", "-val": "grey", "val 1x1": "tiny", "val \u00e9": "rotated",
    "val; large": "large",
}  # fmt: skip
IMAGES = TRAIN | VAL


def save_photo(path: Path, kind: str, pixels: np.ndarray) -> None:
    """Write (H, W, 3) uint8 pixels as a photograph of one of the kinds above."""
    image = Image.fromarray(pixels)
    options = {}
    if kind == "tiny":
        image = image.crop((0, 0, 1, 1))
    elif kind in ("grey", "CMYK", "RGBA", "palette"):
        image = image.convert({"grey": "L", "palette": "P"}.get(kind, kind))
    elif kind == "16 bit":
        image = Image.fromarray(pixels[:, :, 0].astype(np.uint16) * 257)
    elif kind in ("rotated", "large"):
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = 6
        image = image.transpose(Image.Transpose.ROTATE_90)
    kind = "JPEG" if kind in ("JPEG", "grey", "CMYK", "rotated", "large") else "PNG"
    image.save(path, kind, **options)


def write_folder(root: Path) -> None:
    """Write photographs with a bright box each, its masks and saliency maps, and lists as CSV.

    The photographs are below `root` in JPEGImages, the masks in masks, the maps in saliency.
    """
    (root / "JPEGImages").mkdir(parents=True)
    for number, (name, kind) in enumerate(IMAGES.items()):
        pixels = np.random.default_rng(number).integers(0, 99, (*SIZE[::-1], 3), dtype=np.uint8)
        box = np.zeros(SIZE[::-1], np.uint8)
        box[:16, :20] = 1
        pixels[box > 0] += 150
        if kind == "large":
            pixels, box = (np.repeat(np.repeat(one, 3, 0), 3, 1) for one in (pixels, box))
        photo = root / "JPEGImages" / f"{name}.jpg"
        save_photo(photo, kind, pixels)
        width, height = read_photo(photo).size
        box = box[:height, :width]
        write_label(root / "masks" / f"{name}.png", box * (1 + number % 2))
        write_gray(root / "saliency" / f"{name}.png", box * 255)
    (root / "classes.txt").write_text("\n".join(CLASSES))
    for split, names in (("train", TRAIN), ("val", VAL)):
        with open(root / f"{split}.csv", "w", newline="") as file:
            rows = csv.writer(file)
            rows.writerows([n, CLASSES[list(IMAGES).index(n) % 2]] for n in names)
