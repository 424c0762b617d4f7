"""Draw the demo data set: photographs, labels, masks and flawed saliency maps."""

import gzip
import io
import math
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw, ImageFilter

from i2crc.data.demo_objects import CLASS_NAMES, Part, Thing, clutter, ellipse, hsv, place, shade
from i2crc.data.images import IGNORE, voc_palette
from i2crc.runtime.atomic import digest_bytes, write_bytes

SUPERSAMPLING = 3
# The visible part of each thing, as a share of the image and of the whole thing.
SMALLEST_AREA = 0.032
SMALLEST_VISIBLE = 0.65


class Scene(NamedTuple):
    """`image` is (S, S, 3) uint8; `mask` and `saliency` are (S, S) uint8.

    In the mask, 0 is background, n + 1 is class n and 255 is ignored.
    """

    image: np.ndarray
    mask: np.ndarray
    saliency: np.ndarray


# Where things stand -------------------------------------------------------------------------------


def schedule(count: int, rng: Generator) -> list[list[int]]:
    """Return the sorted 0-based classes of each of `count` images.

    A third of the images, rounded, have two or three classes. Each image takes the classes that
    were used least so far, so the frequencies of the classes differ by at most one.
    """
    several = round(count / 3)
    sizes = np.ones(count, int)
    sizes[:several] = np.where(np.arange(several) % 3 == 2, 3, 2)
    rng.shuffle(sizes)
    uses = np.zeros(len(CLASS_NAMES), int)
    images = []
    for size in sizes:
        chosen = np.lexsort((rng.random(len(uses)), uses))[:size]
        uses[chosen] += 1
        images.append(sorted(chosen.tolist()))
    return images


def outline(parts: list[Part], side: int) -> np.ndarray:
    """Return the union of the parts, (side, side) bool: true if the centre of a pixel is inside."""
    fine = side * SUPERSAMPLING
    canvas = Image.new("L", (fine, fine))
    for part in parts:
        fill(canvas, part.points, 1)
    centre = slice(SUPERSAMPLING // 2, None, SUPERSAMPLING)
    return np.asarray(canvas)[centre, centre] > 0


def fill(canvas: Image.Image, points: np.ndarray, value: int) -> None:
    """Draw a polygon of points (n, 2), which are fractions of the side of the `canvas`."""
    ImageDraw.Draw(canvas).polygon((points * canvas.width).ravel().tolist(), value)


def arrange(classes: list[int], size: int, rng: Generator) -> tuple[list[Thing], np.ndarray]:
    """Return things of the given classes, back to front, and their mask, (size, size) uint8.

    Things are drawn again until enough of each one is visible.
    """
    while True:
        labels = rng.permutation(classes).tolist()
        if len(labels) == 1 and rng.random() < 0.15:
            labels *= 2
        largest = 0.6 if len(labels) == 1 else 0.5
        things = [place(label, largest, rng) for label in labels]
        outlines = [outline(thing.parts, size) for thing in things]
        instances = np.zeros((size, size), np.uint8)
        for number, inside in enumerate(outlines, 1):
            instances[inside] = number
        # 0 is background, n + 1 is class n; borders are ignored.
        mask = np.array([0] + [label + 1 for label in labels], np.uint8)[instances]
        widened = np.asarray(Image.fromarray(instances).filter(ImageFilter.MaxFilter(3)))
        mask[widened != instances] = IGNORE
        kept = np.bincount(instances[mask != IGNORE], minlength=len(things) + 1)[1:]
        drawn = np.array([inside.sum() for inside in outlines])
        if (kept >= SMALLEST_AREA * mask.size).all() and (kept >= SMALLEST_VISIBLE * drawn).all():
            return things, mask


# Pixels -------------------------------------------------------------------------------------------


def noise(side: int, cells: int, rng: Generator) -> np.ndarray:
    """Return smooth noise with about `cells` bumps a side: (side, side) float32, about 0..1."""
    grid = Image.fromarray(rng.random((cells, cells), dtype=np.float32))
    return np.asarray(grid.resize((side, side), Image.Resampling.BICUBIC))


def waves(side: int, rng: Generator) -> np.ndarray:
    """Return stripes or dots at a random angle and pitch: (side, side) float in -1..1."""
    angle, pitch = rng.uniform(0, math.pi), 2 * math.pi * rng.uniform(7, 20)
    y, x = np.mgrid[:side, :side] / side
    stripes = np.sin(pitch * (x * math.cos(angle) + y * math.sin(angle)))
    if rng.random() < 0.5:
        return stripes
    return stripes * np.sin(pitch * (y * math.cos(angle) - x * math.sin(angle)))


def backdrop(size: int, rng: Generator) -> Image.Image:
    """Return a supersampled RGB image: two muted colours mixed by noise, under a pattern."""
    hue = rng.random()
    colours = [
        hsv(hue + rng.uniform(-0.15, 0.15), rng.uniform(0.08, 0.4), value)
        for value in rng.permutation([rng.uniform(0.35, 0.6), rng.uniform(0.6, 0.9)])
    ]
    octaves = ((3, 0.6), (9, 0.25), (40, 0.15))
    blend = sum(noise(size, cells, rng) * share for cells, share in octaves)
    blend = blend + rng.uniform(0, 0.16) * waves(size, rng)
    first, second = (np.array(colour, np.float32) for colour in colours)
    pixels = first + (second - first) * blend.clip(0, 1)[..., None]
    side = size * SUPERSAMPLING
    return Image.fromarray(pixels.astype(np.uint8)).resize((side, side), Image.Resampling.BICUBIC)


def paint_parts(canvas: Image.Image, parts: list[Part], rng: Generator) -> None:
    """Draw parts onto the supersampled RGB `canvas`, with texture and with light from above."""
    side = canvas.width
    drawn = np.concatenate([part.points for part in parts]) * side
    corner = np.floor(drawn.min(0)).astype(int) - 1
    extent = int((np.ceil(drawn.max(0)) - corner).max()) + 2
    layer = Image.new("RGB", (extent, extent))
    shape, body = Image.new("L", layer.size), Image.new("L", layer.size)
    for part in parts:
        points = (part.points * side - corner).ravel().tolist()
        edge = shade(part.colour, 0.6)
        ImageDraw.Draw(layer).polygon(points, part.colour, edge, width=side // 128)
        ImageDraw.Draw(shape).polygon(points, 255)
        ImageDraw.Draw(body).polygon(points, 0 if part.distinctive else 1)
    texture = rng.uniform(0.06, 0.2) * waves(extent, rng) + 0.3 * (noise(extent, 12, rng) - 0.5)
    light = 1.15 - 0.35 * np.linspace(0, 1, extent)[:, None] + texture * np.asarray(body)
    pixels = (np.asarray(layer) * light[..., None]).clip(0, 255).astype(np.uint8)
    canvas.paste(Image.fromarray(pixels), tuple(corner.tolist()), shape)


def finish(canvas: Image.Image, rng: Generator) -> np.ndarray:
    """Return the image of final size, (S, S, 3) uint8, with uneven light and sensor noise."""
    pixels = np.asarray(canvas.reduce(SUPERSAMPLING)).astype(np.float32)
    size = len(pixels)
    angle = rng.uniform(0, 2 * math.pi)
    y, x = np.mgrid[:size, :size] / size - 0.5
    slope = x * math.cos(angle) + y * math.sin(angle)
    light = rng.uniform(0.85, 1.1) + rng.uniform(0, 0.4) * slope
    grain = rng.normal(0, rng.uniform(1, 5), pixels.shape)
    return (pixels * light[..., None] + grain).clip(0, 255).astype(np.uint8)


def draw_saliency(
    things: list[Thing], others: list[Part], ground: np.ndarray, size: int, rng: Generator
) -> np.ndarray:
    """Return a saliency map, (size, size) uint8, with the faults of an unsupervised detector.

    Some of the `others` are taken for an object. Some parts and patches are missing. Of several
    things, the one closest to the mean background colour `ground` may be almost missing. Edges are
    soft.
    """
    canvas = Image.new("L", (size, size))
    for part in others:
        if rng.random() < 0.22:
            fill(canvas, part.points, int(rng.integers(110, 230)))
    faintest = min(things, key=lambda thing: np.abs(ground - thing.paint).sum(), default=None)
    lost = faintest if len(things) > 1 and rng.random() < 0.3 else None
    for thing in things:
        level = int(rng.integers(10, 90) if thing is lost else rng.integers(185, 256))
        for part in thing.parts:
            fill(canvas, part.points, 0 if rng.random() < 0.06 else level)
        if rng.random() < 0.5:
            x, y = thing.parts[0].points.mean(0) + rng.normal(0, 0.04, 2)
            fill(canvas, ellipse(x, y, *rng.uniform(0.04, 0.1, 2)), level // 4)
    soft = np.asarray(canvas.filter(ImageFilter.GaussianBlur(rng.uniform(0.012, 0.03) * size)))
    return (soft * (0.7 + 0.6 * noise(size, 6, rng))).clip(0, 255).astype(np.uint8)


def render_scene(classes: list[int], size: int, rng: Generator) -> Scene:
    """Return a scene that shows exactly the given classes (0-based, all different), or none."""
    things, mask = arrange(classes, size, rng)
    canvas = backdrop(size, rng)
    others = clutter(rng)
    for part in others:
        paint_parts(canvas, [part], rng)
    ground = np.asarray(canvas.reduce(SUPERSAMPLING)).mean((0, 1))
    for thing in things:
        paint_parts(canvas, thing.parts, rng)
    saliency = draw_saliency(things, others, ground, size, rng)
    return Scene(finish(canvas, rng), mask, saliency)


# Files --------------------------------------------------------------------------------------------


def encode(pixels: np.ndarray, kind: str, palette: bytes | None = None) -> bytes:
    """Return uint8 pixels, (H, W) or (H, W, 3), as the content of a PNG or JPEG file."""
    image = Image.fromarray(pixels)
    if palette:
        image.putpalette(palette)
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=92)  # a PNG has none
    return buffer.getvalue()


def pack(members: dict[str, bytes]) -> bytes:
    """Return a tar.gz of `members` (name -> content), without times and owners."""
    buffer = io.BytesIO()
    # The header that gzip.compress writes differs between versions of Python.
    zipped = gzip.GzipFile(filename="", fileobj=buffer, mode="wb", mtime=0)
    with zipped, tarfile.open(fileobj=zipped, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def render_split(
    split: str, count: int, size: int, seed: int
) -> Iterator[tuple[str, list[int], Scene]]:
    """Yield (id, classes, scene) for each image of a split ("train" or "val")."""
    stream = [seed, ("train", "val").index(split)]
    for index, classes in enumerate(schedule(count, np.random.default_rng(stream)), 1):
        rng = np.random.default_rng([*stream, index])
        yield f"demo_{split}_{index:04d}", classes, render_scene(classes, size, rng)


def write_demo(root: Path, archive: Path, counts: dict[str, int], size: int, seed: int) -> dict:
    """Write the data set under `root` and the archive of saliency maps; return the manifest.

    `counts` are the numbers of images of "train" and "val". In the manifest, "count" is the number
    of all images. "files" and "sizes" are the SHA-256 and the bytes of each file by its name below
    `root`. "archive" is the SHA-256 of the archive by its name. The same arguments give the same
    bytes.
    """
    files: dict[str, bytes] = {}
    saliency: dict[str, bytes] = {}
    palette = voc_palette().tobytes()
    for split, count in counts.items():
        lines = []
        for name, classes, scene in render_split(split, count, size, seed):
            files[f"JPEGImages/{name}.jpg"] = encode(scene.image, "JPEG")
            files[f"SegmentationClassAug/{name}.png"] = encode(scene.mask, "PNG", palette)
            saliency[f"saliency/{name}.png"] = encode(scene.saliency, "PNG")
            lines.append(" ".join([name, *map(str, classes)]) + "\n")
        files[f"{split}_cls.txt"] = "".join(lines).encode()
    files["classes.txt"] = "".join(f"{name}\n" for name in CLASS_NAMES).encode()
    for name, content in files.items():
        write_bytes(root / name, content)
    packed = pack(saliency)
    write_bytes(archive, packed)
    return {
        "count": sum(counts.values()),
        "files": {name: digest_bytes(content) for name, content in files.items()},
        "sizes": {name: len(content) for name, content in files.items()},
        "archive": {archive.name: digest_bytes(packed)},
    }
