"""The objects of the demo data set: six classes, each drawn from parts, and clutter."""

# Every class has one distinctive part that no other class shares. The other parts draw their
# colours and textures from one common range. The attention of a classifier therefore settles on the
# distinctive part, and the pipeline exists to close that gap between attention and mask.

import colorsys
import math
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator

Colour = tuple[int, int, int]
Shape = tuple[Any, Colour]  # points (x, y) and the colour of their polygon


class Part(NamedTuple):
    """A filled polygon: `points` are (n, 2) float (x, y), y downwards.

    `distinctive` marks the part that only this class has.
    """

    points: np.ndarray
    colour: Colour
    distinctive: bool = False


class Thing(NamedTuple):
    """An object in an image: the colour of its body, and its parts in the order of drawing.

    Their points are fractions of the image side.
    """

    paint: Colour
    parts: list[Part]


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """Return a colour; hue, of which 1 is a full turn, saturation and value are in 0..1."""
    red, green, blue = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def shade(colour: Colour, factor: float) -> Colour:
    """Return a colour that is `factor` times as bright."""
    red, green, blue = (min(255, round(factor * value)) for value in colour)
    return red, green, blue


def ellipse(x: float, y: float, rx: float, ry: float, turn: float = 0.0) -> np.ndarray:
    """Return an ellipse, turned by `turn` radians, as a polygon (36, 2)."""
    angles = np.linspace(0, 2 * np.pi, 36, endpoint=False)
    return arc(angles) * (rx, ry) @ rotation(turn) + (x, y)


def band(x: float, y: float, radius: float, width: float, start: float, end: float) -> np.ndarray:
    """Return the part of a ring between two angles in radians, as a polygon (40, 2)."""
    edge = arc(np.linspace(start, end, 20))
    return np.concatenate([radius * edge, (radius - width) * edge[::-1]]) + (x, y)


def box(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """Return a rectangle as a polygon (4, 2)."""
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def arc(angles: np.ndarray) -> np.ndarray:
    """Return the points of the unit circle at n angles in radians, (n, 2)."""
    return np.stack([np.cos(angles), np.sin(angles)], 1)


def rotation(angle: float) -> np.ndarray:
    """Return the (2, 2) matrix that turns row vectors by `angle` radians."""
    cosine, sine = math.cos(angle), math.sin(angle)
    return np.array([(cosine, sine), (-sine, cosine)])


def place(label: int, largest: float, rng: Generator) -> Thing:
    """Return an object of class `label` (0-based), wholly inside the image.

    The longer of its width and height is 0.3 to `largest` image sides.
    """
    paint = hsv(rng.random(), rng.uniform(0.4, 0.8), rng.uniform(0.6, 0.95))
    body, mark = BUILDERS[label](paint)
    turn = rotation(rng.uniform(-0.4, 0.4)) * (1, rng.uniform(0.85, 1.15))
    if rng.random() < 0.5:
        turn = turn * (-1, 1)
    turned = [np.array(points) @ turn for points, _ in body + mark]
    low, high = np.concatenate(turned).min(0), np.concatenate(turned).max(0)
    scale = rng.uniform(0.3, largest) / (high - low).max()
    corner = rng.uniform(0.02, 0.98 - scale * (high - low))
    placed = [(points - low) * scale + corner for points in turned]
    colours = [colour for _, colour in body + mark]
    flags = [False] * len(body) + [True] * len(mark)
    return Thing(paint, [Part(*one) for one in zip(placed, colours, flags, strict=True)])


def clutter(rng: Generator) -> list[Part]:
    """Return two to six shapes that belong to no class: blobs, shards, rods and rings."""
    shapes = []
    for _ in range(rng.integers(2, 7)):
        radius, (x, y) = rng.uniform(0.05, 0.16), rng.random(2)
        angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        lobes = 1 + 0.3 * np.sin(rng.integers(2, 5) * angles + rng.uniform(0, 6))
        corners = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 6)))
        points = (
            lobes[:, None] * arc(angles),
            arc(corners),
            box(-1.6, -0.2, 1.6, 0.2),
            band(0, 0, 1, 0.35, 0, rng.uniform(3, 6.2)),
        )[rng.integers(4)]
        colour = hsv(rng.random(), rng.uniform(0.15, 0.6), rng.uniform(0.35, 0.9))
        shapes.append(Part(radius * points @ rotation(rng.uniform(0, 6)) + (x, y), colour))
    return shapes


# The classes. Each function returns the common parts of an object and its distinctive ones, back to
# front, around the origin and roughly within [-1, 1]; `paint` is the colour of its body.

WHITE, BLACK, GLASS = (245, 243, 236), (28, 26, 30), (178, 212, 228)


def fish(paint: Colour) -> tuple[list[Shape], list[Shape]]:
    fin = shade(paint, 0.75)
    head = arc(np.linspace(-1.2, 1.2, 24)) * (0.78, 0.46)
    body: list[Shape] = [
        ([(-0.55, 0), (-1.1, -0.48), (-0.95, 0), (-1.1, 0.48)], fin),
        ([(-0.35, -0.3), (-0.15, -0.68), (0.3, -0.35)], fin),
        ([(-0.2, 0.35), (-0.2, 0.62), (0.15, 0.35)], fin),
        (ellipse(0, 0, 0.78, 0.46), paint),
        (ellipse(-0.1, 0.1, 0.2, 0.1, 0.4), fin),
    ]
    return body, [
        (head, (242, 140, 40)),
        ([(0.2, -0.42), (0.32, -0.42), (0.32, 0.42), (0.2, 0.42)], WHITE),
        (ellipse(0.5, -0.1, 0.13, 0.13), WHITE),
        (ellipse(0.53, -0.1, 0.07, 0.07), BLACK),
    ]


def house(paint: Colour) -> tuple[list[Shape], list[Shape]]:
    tiles = [
        (box(-0.92 + slope, -0.25 - height, 0.92 - slope, -0.2 - height), (112, 36, 30))
        for height, slope in ((0.08, 0.22), (0.22, 0.44), (0.36, 0.66))
    ]
    body: list[Shape] = [
        (box(0.38, -0.75, 0.58, -0.3), shade(paint, 0.75)),
        (box(-0.72, -0.18, 0.72, 0.78), paint),
        (box(-0.14, 0.25, 0.18, 0.78), shade(paint, 0.55)),
        (box(-0.54, 0.08, -0.28, 0.36), GLASS),
        (box(0.32, 0.08, 0.58, 0.36), GLASS),
    ]
    return body, [([(-0.95, -0.16), (0, -0.76), (0.95, -0.16)], (190, 66, 48)), *tiles]


def car(paint: Colour) -> tuple[list[Shape], list[Shape]]:
    hull = [(-1, 0.38), (-1, -0.02), (-0.9, -0.12), (0.75, -0.12), (1, 0.04), (1, 0.38)]
    body: list[Shape] = [
        ([(-0.7, -0.1), (-0.48, -0.58), (0.3, -0.58), (0.6, -0.1)], shade(paint, 0.88)),
        ([(-0.55, -0.12), (-0.4, -0.48), (-0.13, -0.48), (-0.13, -0.12)], GLASS),
        ([(-0.03, -0.12), (-0.03, -0.48), (0.24, -0.48), (0.45, -0.12)], GLASS),
        (hull, paint),
        (box(-0.24, 0.0, -0.04, 0.05), shade(paint, 0.55)),
    ]
    return body, [
        (ellipse(x, 0.36, radius, radius), colour)
        for x in (-0.56, 0.56)
        for radius, colour in ((0.26, BLACK), (0.15, (196, 198, 204)), (0.06, BLACK))
    ]


def flower(paint: Colour) -> tuple[list[Shape], list[Shape]]:
    green = (74, 140, 66)
    turns = np.arange(7) * 2 * np.pi / 7
    body: list[Shape] = [
        (box(-0.06, 0.1, 0.06, 1), green),
        (ellipse(0.28, 0.68, 0.26, 0.12, -0.6), green),
        (ellipse(-0.28, 0.76, 0.26, 0.12, 0.6), green),
    ]
    for index, turn in enumerate(turns):
        petal = ellipse(0.42 * math.cos(turn), 0.42 * math.sin(turn) - 0.32, 0.27, 0.2, turn)
        body.append((petal, shade(paint, 1 - 0.12 * (index % 2))))
    seeds = [
        (ellipse(0.17 * math.cos(turn), 0.17 * math.sin(turn) - 0.32, 0.05, 0.05), BLACK)
        for turn in turns
    ]
    return body, [(ellipse(0, -0.32, 0.3, 0.3), (246, 200, 44)), *seeds]


def bird(paint: Colour) -> tuple[list[Shape], list[Shape]]:
    wing = shade(paint, 0.75)
    body: list[Shape] = [
        ([(-0.45, 0.0), (-1.08, -0.22), (-1.0, 0.02), (-1.1, 0.2), (-0.45, 0.3)], wing),
        ([(-0.1, 0.5), (-0.02, 0.5), (0.02, 0.84), (-0.06, 0.84)], (200, 120, 40)),
        ([(0.14, 0.5), (0.22, 0.5), (0.26, 0.84), (0.18, 0.84)], (200, 120, 40)),
        (ellipse(0, 0.14, 0.66, 0.44, -0.2), paint),
        (ellipse(-0.16, 0.1, 0.42, 0.22, 0.25), wing),
    ]
    return body, [
        ([(0.68, -0.46), (1.1, -0.3), (0.68, -0.2)], (250, 190, 40)),
        (ellipse(0.48, -0.34, 0.31, 0.3), (44, 52, 110)),
        ([(0.3, -0.6), (0.2, -0.86), (0.5, -0.64)], (44, 52, 110)),
        (ellipse(0.56, -0.4, 0.11, 0.11), WHITE),
        (ellipse(0.58, -0.4, 0.06, 0.06), BLACK),
    ]


def cup(paint: Colour) -> tuple[list[Shape], list[Shape]]:
    side = [(-0.66, -0.45), (0.66, -0.45), (0.56, 0.5), (0.36, 0.78), (-0.36, 0.78), (-0.56, 0.5)]
    body: list[Shape] = [
        (band(0.6, 0.05, 0.4, 0.15, -1.7, 1.7), shade(paint, 0.82)),
        (side, paint),
        ([(-0.6, 0.05), (0.6, 0.05), (0.58, 0.2), (-0.58, 0.2)], shade(paint, 0.7)),
    ]
    return body, [
        (ellipse(0, -0.45, 0.68, 0.24), WHITE),
        (ellipse(0, -0.44, 0.55, 0.165), (84, 48, 26)),
        (ellipse(-0.1, -0.42, 0.22, 0.06), (150, 98, 58)),
    ]


BUILDERS = (fish, house, car, flower, bird, cup)
CLASS_NAMES = ("fish", "house", "car", "flower", "bird", "cup")
