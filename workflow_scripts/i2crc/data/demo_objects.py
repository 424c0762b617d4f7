"""The objects of the demo data set: six classes, each drawn from parts."""

# Every class has one distinctive part that no other class shares. The other parts draw their
# colours and textures from one common range. The attention of a classifier therefore settles on the
# distinctive part, and the pipeline exists to close that gap between attention and mask.

import colorsys
import math
from dataclasses import dataclass

import numpy as np

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Part:
    """A filled polygon: `points` are (n, 2) float (x, y), y downwards.

    `distinctive` marks the part that only this class has.
    """

    points: np.ndarray
    colour: Colour
    distinctive: bool = False


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
    points = np.stack([rx * np.cos(angles), ry * np.sin(angles)], 1)
    return points @ rotation(turn) + (x, y)


def band(x: float, y: float, radius: float, width: float, start: float, end: float) -> np.ndarray:
    """Return the part of a ring between two angles in radians, as a polygon (40, 2)."""
    angles = np.linspace(start, end, 20)
    arc = np.stack([np.cos(angles), np.sin(angles)], 1)
    return np.concatenate([radius * arc, (radius - width) * arc[::-1]]) + (x, y)


def box(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """Return a rectangle as a polygon (4, 2)."""
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def polygon(*points: tuple[float, float]) -> np.ndarray:
    """Return points (x, y) as an array (n, 2)."""
    return np.array(points)


def rotation(angle: float) -> np.ndarray:
    """Return the (2, 2) matrix that turns row vectors by `angle` radians."""
    cosine, sine = math.cos(angle), math.sin(angle)
    return np.array([(cosine, sine), (-sine, cosine)])


# The classes. Each function returns the parts of an object, back to front, around the origin and
# roughly within [-1, 1]; `paint` is the colour of its body.

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
        Part(head, (242, 140, 40), distinctive=True),
        Part(
            polygon((0.2, -0.42), (0.32, -0.42), (0.32, 0.42), (0.2, 0.42)), WHITE, distinctive=True
        ),
        Part(ellipse(0.5, -0.1, 0.13, 0.13), WHITE, distinctive=True),
        Part(ellipse(0.53, -0.1, 0.07, 0.07), BLACK, distinctive=True),
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
        Part(polygon((-0.95, -0.16), (0, -0.76), (0.95, -0.16)), (190, 66, 48), distinctive=True),
        *tiles,
    ]


def car(paint: Colour) -> list[Part]:
    wheels = [
        Part(ellipse(x, 0.36, radius, radius), colour, distinctive=True)
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
        Part(ellipse(0, -0.32, 0.3, 0.3), (246, 200, 44), distinctive=True),
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
        Part(polygon((0.68, -0.46), (1.1, -0.3), (0.68, -0.2)), (250, 190, 40), distinctive=True),
        Part(ellipse(0.48, -0.34, 0.31, 0.3), (44, 52, 110), distinctive=True),
        Part(polygon((0.3, -0.6), (0.2, -0.86), (0.5, -0.64)), (44, 52, 110), distinctive=True),
        Part(ellipse(0.56, -0.4, 0.11, 0.11), WHITE, distinctive=True),
        Part(ellipse(0.58, -0.4, 0.06, 0.06), BLACK, distinctive=True),
    ]


def cup(paint: Colour) -> list[Part]:
    side = polygon(
        (-0.66, -0.45), (0.66, -0.45), (0.56, 0.5), (0.36, 0.78), (-0.36, 0.78), (-0.56, 0.5)
    )
    return [
        Part(band(0.6, 0.05, 0.4, 0.15, -1.7, 1.7), shade(paint, 0.82)),
        Part(side, paint),
        Part(polygon((-0.6, 0.05), (0.6, 0.05), (0.58, 0.2), (-0.58, 0.2)), shade(paint, 0.7)),
        Part(ellipse(0, -0.45, 0.68, 0.24), WHITE, distinctive=True),
        Part(ellipse(0, -0.44, 0.55, 0.165), (84, 48, 26), distinctive=True),
        Part(ellipse(-0.1, -0.42, 0.22, 0.06), (150, 98, 58), distinctive=True),
    ]


BUILDERS = (fish, house, car, flower, bird, cup)
CLASS_NAMES = ("fish", "house", "car", "flower", "bird", "cup")
