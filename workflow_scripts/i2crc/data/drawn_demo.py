"""The demo data set: drawn objects made of parts, with labels, masks and flawed saliency maps."""

# Every class has one telling part that no other class shares; the bodies draw their colours and
# textures from one common range. A classifier's attention therefore settles on the telling part,
# which is the gap between attention and mask that the pipeline exists to close.

import colorsys
import gzip
import io
import math
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from i2crc.data.images import IGNORE, voc_palette
from i2crc.runtime.atomic import digest_bytes, write_bytes
from i2crc.runtime.errors import InputError

CLASS_NAMES = ("fish", "house", "car", "flower", "bird", "cup")
SUPERSAMPLING = 3
SMALLEST_SIZE = 64
SMALLEST_AREA = 0.032
SMALLEST_VISIBLE = 0.65

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Part:
    """One polygon: `points` float [n, 2] as (x, y), y downwards; `telling` marks a class's own."""

    points: np.ndarray
    colour: Colour
    telling: bool = False


@dataclass(frozen=True)
class Thing:
    """An object of class `label` (0-based); `parts` back to front, points in image sides."""

    label: int
    paint: Colour
    parts: list[Part]


@dataclass(frozen=True)
class Scene:
    """`image` uint8 [S, S, 3]; `mask` and `saliency` uint8 [S, S]; mask: 0, class + 1 or 255."""

    image: np.ndarray
    mask: np.ndarray
    saliency: np.ndarray


# Colours and outlines -----------------------------------------------------------------------------


def hsv(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def shade(colour: Colour, factor: float) -> Colour:
    red, green, blue = (min(255, round(factor * value)) for value in colour)
    return red, green, blue


def ellipse(x: float, y: float, rx: float, ry: float, turn: float = 0.0) -> np.ndarray:
    angles = np.linspace(0, 2 * np.pi, 36, endpoint=False)
    points = np.stack([rx * np.cos(angles), ry * np.sin(angles)], 1)
    return points @ rotation(turn) + (x, y)


def band(x: float, y: float, radius: float, width: float, start: float, end: float) -> np.ndarray:
    """The part of a ring between two angles, as one polygon [40, 2]."""
    angles = np.linspace(start, end, 20)
    arc = np.stack([np.cos(angles), np.sin(angles)], 1)
    return np.concatenate([radius * arc, (radius - width) * arc[::-1]]) + (x, y)


def box(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def polygon(*points: tuple[float, float]) -> np.ndarray:
    return np.array(points)


def rotation(angle: float) -> np.ndarray:
    """The matrix that turns row vectors by `angle` radians."""
    cosine, sine = math.cos(angle), math.sin(angle)
    return np.array([(cosine, sine), (-sine, cosine)])


# The classes --------------------------------------------------------------------------------------
# Each draws itself about the origin, roughly within [-1, 1], from back to front.

WHITE, BLACK, GLASS = (245, 243, 236), (28, 26, 30), (178, 212, 228)


def fish(paint: Colour) -> list[Part]:
    fin = shade(paint, 0.75)
    face = np.linspace(-1.2, 1.2, 24)
    head = np.stack([0.78 * np.cos(face), 0.46 * np.sin(face)], 1)
    return [
        Part(polygon((-0.55, 0), (-1.1, -0.48), (-0.95, 0), (-1.1, 0.48)), fin),
        Part(polygon((-0.35, -0.3), (-0.15, -0.68), (0.3, -0.35)), fin),
        Part(polygon((-0.2, 0.35), (-0.2, 0.62), (0.15, 0.35)), fin),
        Part(ellipse(0, 0, 0.78, 0.46), paint),
        Part(ellipse(-0.1, 0.1, 0.2, 0.1, 0.4), fin),
        Part(head, (242, 140, 40), telling=True),
        Part(polygon((0.2, -0.42), (0.32, -0.42), (0.32, 0.42), (0.2, 0.42)), WHITE, telling=True),
        Part(ellipse(0.5, -0.1, 0.13, 0.13), WHITE, telling=True),
        Part(ellipse(0.53, -0.1, 0.07, 0.07), BLACK, telling=True),
    ]


def house(paint: Colour) -> list[Part]:
    tiles = [
        Part(box(-0.92 + slope, -0.25 - height, 0.92 - slope, -0.2 - height), (112, 36, 30), True)
        for height, slope in ((0.08, 0.22), (0.22, 0.44), (0.36, 0.66))
    ]
    return [
        Part(box(0.38, -0.75, 0.58, -0.3), shade(paint, 0.75)),
        Part(box(-0.72, -0.18, 0.72, 0.78), paint),
        Part(box(-0.14, 0.25, 0.18, 0.78), shade(paint, 0.55)),
        Part(box(-0.54, 0.08, -0.28, 0.36), GLASS),
        Part(box(0.32, 0.08, 0.58, 0.36), GLASS),
        Part(polygon((-0.95, -0.16), (0, -0.76), (0.95, -0.16)), (190, 66, 48), telling=True),
        *tiles,
    ]


def car(paint: Colour) -> list[Part]:
    wheels = [
        Part(ellipse(x, 0.36, radius, radius), colour, telling=True)
        for x in (-0.56, 0.56)
        for radius, colour in ((0.26, BLACK), (0.15, (196, 198, 204)), (0.06, BLACK))
    ]
    hull = polygon((-1, 0.38), (-1, -0.02), (-0.9, -0.12), (0.75, -0.12), (1, 0.04), (1, 0.38))
    return [
        Part(polygon((-0.7, -0.1), (-0.48, -0.58), (0.3, -0.58), (0.6, -0.1)), shade(paint, 0.88)),
        Part(polygon((-0.55, -0.12), (-0.4, -0.48), (-0.13, -0.48), (-0.13, -0.12)), GLASS),
        Part(polygon((-0.03, -0.12), (-0.03, -0.48), (0.24, -0.48), (0.45, -0.12)), GLASS),
        Part(hull, paint),
        Part(box(-0.24, 0.0, -0.04, 0.05), shade(paint, 0.55)),
        *wheels,
    ]


def flower(paint: Colour) -> list[Part]:
    green = (74, 140, 66)
    turns = np.arange(7) * 2 * np.pi / 7
    petals = [
        Part(
            ellipse(0.42 * math.cos(turn), 0.42 * math.sin(turn) - 0.32, 0.27, 0.2, turn),
            shade(paint, 1 - 0.12 * (index % 2)),
        )
        for index, turn in enumerate(turns)
    ]
    seeds = [
        Part(ellipse(0.17 * math.cos(turn), 0.17 * math.sin(turn) - 0.32, 0.05, 0.05), BLACK, True)
        for turn in turns
    ]
    return [
        Part(box(-0.06, 0.1, 0.06, 1), green),
        Part(ellipse(0.28, 0.68, 0.26, 0.12, -0.6), green),
        Part(ellipse(-0.28, 0.76, 0.26, 0.12, 0.6), green),
        *petals,
        Part(ellipse(0, -0.32, 0.3, 0.3), (246, 200, 44), telling=True),
        *seeds,
    ]


def bird(paint: Colour) -> list[Part]:
    wing = shade(paint, 0.75)
    return [
        Part(polygon((-0.45, 0.0), (-1.08, -0.22), (-1.0, 0.02), (-1.1, 0.2), (-0.45, 0.3)), wing),
        Part(polygon((-0.1, 0.5), (-0.02, 0.5), (0.02, 0.84), (-0.06, 0.84)), (200, 120, 40)),
        Part(polygon((0.14, 0.5), (0.22, 0.5), (0.26, 0.84), (0.18, 0.84)), (200, 120, 40)),
        Part(ellipse(0, 0.14, 0.66, 0.44, -0.2), paint),
        Part(ellipse(-0.16, 0.1, 0.42, 0.22, 0.25), wing),
        Part(polygon((0.68, -0.46), (1.1, -0.3), (0.68, -0.2)), (250, 190, 40), telling=True),
        Part(ellipse(0.48, -0.34, 0.31, 0.3), (44, 52, 110), telling=True),
        Part(polygon((0.3, -0.6), (0.2, -0.86), (0.5, -0.64)), (44, 52, 110), telling=True),
        Part(ellipse(0.56, -0.4, 0.11, 0.11), WHITE, telling=True),
        Part(ellipse(0.58, -0.4, 0.06, 0.06), BLACK, telling=True),
    ]


def cup(paint: Colour) -> list[Part]:
    side = polygon(
        (-0.66, -0.45), (0.66, -0.45), (0.56, 0.5), (0.36, 0.78), (-0.36, 0.78), (-0.56, 0.5)
    )
    return [
        Part(band(0.6, 0.05, 0.4, 0.15, -1.7, 1.7), shade(paint, 0.82)),
        Part(side, paint),
        Part(polygon((-0.6, 0.05), (0.6, 0.05), (0.58, 0.2), (-0.58, 0.2)), shade(paint, 0.7)),
        Part(ellipse(0, -0.45, 0.68, 0.24), WHITE, telling=True),
        Part(ellipse(0, -0.44, 0.55, 0.165), (84, 48, 26), telling=True),
        Part(ellipse(-0.1, -0.42, 0.22, 0.06), (150, 98, 58), telling=True),
    ]


BUILDERS = (fish, house, car, flower, bird, cup)


# Where things stand -------------------------------------------------------------------------------


def schedule(count: int, rng: np.random.Generator) -> list[list[int]]:
    """The classes (ascending, 0-based) of each of `count` images.

    A third of the images, rounded, hold two or three classes; class frequencies differ by at most
    one, as each image takes the classes used least so far.
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


def place(label: int, largest: float, rng: np.random.Generator) -> Thing:
    """A thing of class `label`, its longer extent 0.3 to `largest` image sides, wholly inside."""
    paint = hsv(rng.random(), rng.uniform(0.4, 0.8), rng.uniform(0.6, 0.95))
    parts = BUILDERS[label](paint)
    turn = rotation(rng.uniform(-0.4, 0.4)) * (1, rng.uniform(0.85, 1.15))
    if rng.random() < 0.5:
        turn = turn * (-1, 1)
    turned = [part.points @ turn for part in parts]
    low, high = np.concatenate(turned).min(0), np.concatenate(turned).max(0)
    scale = rng.uniform(0.3, largest) / (high - low).max()
    corner = rng.uniform(0.02, 0.98 - scale * (high - low))
    return Thing(
        label,
        paint,
        [
            Part((points - low) * scale + corner, part.colour, part.telling)
            for part, points in zip(parts, turned, strict=True)
        ],
    )


def outline(parts: list[Part], side: int) -> np.ndarray:
    """The union of the parts, bool [side, side], true where a pixel's centre lies inside."""
    fine = side * SUPERSAMPLING
    canvas = Image.new("L", (fine, fine))
    draw = ImageDraw.Draw(canvas)
    for part in parts:
        draw.polygon((part.points * fine).ravel().tolist(), fill=1)
    centre = slice(SUPERSAMPLING // 2, None, SUPERSAMPLING)
    return np.asarray(canvas)[centre, centre] > 0


def arrange(
    classes: list[int], size: int, rng: np.random.Generator
) -> tuple[list[Thing], np.ndarray]:
    """Things of the given classes, back to front, and their mask, uint8 [size, size].

    Drawn anew until each thing keeps enough of its area visible.
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
        mask = label_mask(instances, labels)
        kept = np.bincount(instances[mask != IGNORE], minlength=len(things) + 1)[1:]
        drawn = np.array([inside.sum() for inside in outlines])
        if (kept >= SMALLEST_AREA * mask.size).all() and (kept >= SMALLEST_VISIBLE * drawn).all():
            return things, mask


def label_mask(instances: np.ndarray, labels: list[int]) -> np.ndarray:
    """Mask values, uint8 [S, S], of an instance map (0 = none, n = the n-th label)."""
    mask = np.array([0] + [label + 1 for label in labels], np.uint8)[instances]
    widened = np.asarray(Image.fromarray(instances).filter(ImageFilter.MaxFilter(3)))
    mask[widened != instances] = IGNORE
    return mask


# Pixels -------------------------------------------------------------------------------------------


def noise(side: int, cells: int, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise with about `cells` bumps a side, float32 [side, side], about 0 to 1."""
    grid = Image.fromarray(rng.random((cells, cells), dtype=np.float32))
    return np.asarray(grid.resize((side, side), Image.Resampling.BICUBIC))


def waves(side: int, rng: np.random.Generator) -> np.ndarray:
    """Stripes or a grid of dots at a random angle and pitch, float [side, side], -1 to 1."""
    angle, pitch = rng.uniform(0, math.pi), 2 * math.pi * rng.uniform(7, 20)
    y, x = np.mgrid[:side, :side] / side
    stripes = np.sin(pitch * (x * math.cos(angle) + y * math.sin(angle)))
    if rng.random() < 0.5:
        return stripes
    return stripes * np.sin(pitch * (y * math.cos(angle) - x * math.sin(angle)))


def backdrop(size: int, rng: np.random.Generator) -> Image.Image:
    """Two muted colours mixed by noise, with a pattern over them; RGB, supersampled."""
    hue = rng.random()
    colours = [
        hsv(hue + rng.uniform(-0.15, 0.15), rng.uniform(0.08, 0.4), value)
        for value in rng.permutation([rng.uniform(0.35, 0.6), rng.uniform(0.6, 0.9)])
    ]
    blend = sum(
        noise(size, cells, rng) * share for cells, share in ((3, 0.6), (9, 0.25), (40, 0.15))
    )
    blend = blend + rng.uniform(0, 0.16) * waves(size, rng)
    first, second = (np.array(colour, np.float32) for colour in colours)
    pixels = first + (second - first) * blend.clip(0, 1)[..., None]
    side = size * SUPERSAMPLING
    return Image.fromarray(pixels.astype(np.uint8)).resize((side, side), Image.Resampling.BICUBIC)


def distractors(rng: np.random.Generator) -> list[Part]:
    """Two to six shapes of no class: blobs, shards, rods and rings."""
    shapes = []
    for _ in range(rng.integers(2, 7)):
        radius, (x, y) = rng.uniform(0.05, 0.16), rng.random(2)
        angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        lobes = 1 + 0.3 * np.sin(rng.integers(2, 5) * angles + rng.uniform(0, 6))
        corners = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 6)))
        points = (
            np.stack([lobes * np.cos(angles), lobes * np.sin(angles)], 1),
            np.stack([np.cos(corners), np.sin(corners)], 1),
            box(-1.6, -0.2, 1.6, 0.2),
            band(0, 0, 1, 0.35, 0, rng.uniform(3, 6.2)),
        )[rng.integers(4)]
        colour = hsv(rng.random(), rng.uniform(0.15, 0.6), rng.uniform(0.35, 0.9))
        shapes.append(Part(radius * points @ rotation(rng.uniform(0, 6)) + (x, y), colour))
    return shapes


def paint_parts(canvas: Image.Image, parts: list[Part], rng: np.random.Generator) -> None:
    """Draw parts, textured and lit from above, onto the supersampled RGB `canvas`."""
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
        ImageDraw.Draw(body).polygon(points, 0 if part.telling else 1)
    texture = rng.uniform(0.06, 0.2) * waves(extent, rng) + 0.3 * (noise(extent, 12, rng) - 0.5)
    light = 1.15 - 0.35 * np.linspace(0, 1, extent)[:, None] + texture * np.asarray(body)
    pixels = (np.asarray(layer) * light[..., None]).clip(0, 255).astype(np.uint8)
    canvas.paste(Image.fromarray(pixels), tuple(corner.tolist()), shape)


def finish(canvas: Image.Image, rng: np.random.Generator) -> np.ndarray:
    """Reduce to the final size, then add uneven light and sensor noise; uint8 [S, S, 3]."""
    pixels = np.asarray(canvas.reduce(SUPERSAMPLING)).astype(np.float32)
    size = len(pixels)
    angle = rng.uniform(0, 2 * math.pi)
    y, x = np.mgrid[:size, :size] / size - 0.5
    light = rng.uniform(0.85, 1.1) + rng.uniform(0, 0.4) * (
        x * math.cos(angle) + y * math.sin(angle)
    )
    grain = rng.normal(0, rng.uniform(1, 5), pixels.shape)
    return (pixels * light[..., None] + grain).clip(0, 255).astype(np.uint8)


def draw_saliency(
    things: list[Thing],
    clutter: list[Part],
    ground: np.ndarray,
    size: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """A saliency map with an unsupervised detector's faults, uint8 [size, size].

    Some clutter is taken for an object, some parts and patches are missing, among several things
    the one closest to the mean background colour `ground` may be lost, and edges are soft.
    """
    canvas = Image.new("L", (size, size))
    draw = ImageDraw.Draw(canvas)
    for part in clutter:
        if rng.random() < 0.22:
            draw.polygon((part.points * size).ravel().tolist(), int(rng.integers(110, 230)))
    faintest = min(things, key=lambda thing: np.abs(ground - thing.paint).sum())
    lost = faintest if len(things) > 1 and rng.random() < 0.3 else None
    for thing in things:
        level = int(rng.integers(10, 90) if thing is lost else rng.integers(185, 256))
        for part in thing.parts:
            fill = 0 if rng.random() < 0.06 else level
            draw.polygon((part.points * size).ravel().tolist(), fill)
        if rng.random() < 0.5:
            x, y = thing.parts[0].points.mean(0) + rng.normal(0, 0.04, 2)
            patch = ellipse(x, y, *rng.uniform(0.04, 0.1, 2)) * size
            draw.polygon(patch.ravel().tolist(), level // 4)
    soft = np.asarray(canvas.filter(ImageFilter.GaussianBlur(rng.uniform(0.012, 0.03) * size)))
    return (soft * (0.7 + 0.6 * noise(size, 6, rng))).clip(0, 255).astype(np.uint8)


def render_scene(classes: list[int], size: int, rng: np.random.Generator) -> Scene:
    """Draw one scene that shows exactly the given classes (0-based, distinct)."""
    things, mask = arrange(classes, size, rng)
    canvas = backdrop(size, rng)
    clutter = distractors(rng)
    for part in clutter:
        paint_parts(canvas, [part], rng)
    ground = np.asarray(canvas.reduce(SUPERSAMPLING)).mean((0, 1))
    for thing in things:
        paint_parts(canvas, thing.parts, rng)
    saliency = draw_saliency(things, clutter, ground, size, rng)
    return Scene(finish(canvas, rng), mask, saliency)


# Files --------------------------------------------------------------------------------------------


def encode(pixels: np.ndarray, kind: str, palette: bytes | None = None) -> bytes:
    """`pixels` as the bytes of a PNG or JPEG file."""
    image = Image.fromarray(pixels)
    if palette:
        image.putpalette(palette)
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"quality": 92} if kind == "JPEG" else {}))
    return buffer.getvalue()


def pack(members: dict[str, bytes]) -> bytes:
    """A tar.gz of `members` (name to content) that depends on nothing else: no times, no owners."""
    buffer = io.BytesIO()
    # GzipFile rather than gzip.compress, whose header differs between versions of Python.
    with (
        gzip.GzipFile(filename="", fileobj=buffer, mode="wb", mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def render_split(
    split: str, count: int, size: int, seed: int
) -> Iterator[tuple[str, list[int], Scene]]:
    """Yield (id, classes, scene) of each image of `split` ("train" or "val")."""
    stream = [seed, ("train", "val").index(split)]
    for index, classes in enumerate(schedule(count, np.random.default_rng(stream)), 1):
        rng = np.random.default_rng([*stream, index])
        yield f"demo_{split}_{index:04d}", classes, render_scene(classes, size, rng)


def write_demo(root: Path, archive: Path, counts: dict[str, int], size: int, seed: int) -> dict:
    """Write the data set under `root` and the saliency archive; return the manifest.

    `counts` gives the images of "train" and of "val". The manifest holds "count", the number of
    images; "files" and "sizes", SHA-256 and bytes of each file by its name below `root`; and
    "archive", the SHA-256 of the archive by its own name. The same arguments give the same bytes. Raises InputError for an image
    size below 64, no images or a negative seed.
    """
    check(counts, size, seed)
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


def check(counts: dict[str, int], size: int, seed: int) -> None:
    for split, count in counts.items():
        if count < 1:
            raise InputError(f"demo data set: {count} {split} images; ask for 1 or more")
    if size < SMALLEST_SIZE:
        raise InputError(f"demo data set: size {size}; ask for {SMALLEST_SIZE} pixels or more")
    if seed < 0:
        raise InputError(f"demo data set: seed {seed}; give 0 or more")
