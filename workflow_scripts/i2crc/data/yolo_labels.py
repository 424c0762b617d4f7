"""Labels in the segmentation format of Ultralytics YOLO: a line of text for each region.

A line is the class, 0..K-1, and the corners of a polygon, x and y as shares of width and height.
The polygons run along the edges of the pixels, so whoever fills them by the pixels' centres gets
the label's pixels. The format has no holes: a hole is joined to the line around it by a bridge of
no width. Pixels of value 255 are in no polygon, so they become background.
"""

from collections.abc import Sequence

import numpy as np

from i2crc.data.regions import regions


def yolo_lines(label: np.ndarray) -> str:
    """Return the text file of an (H, W) uint8 label of its photograph's size; "" without object."""
    height, width = label.shape
    lines = []
    for region in regions(label):
        points = (outline(region.mask) + (region.left, region.top)) / (width, height)
        numbers = " ".join(f"{share:.6g}" for share in points.ravel().tolist())
        lines.append(f"{region.value - 1} {numbers}\n")
    return "".join(lines)


def yolo_data(classes: Sequence[str], photographs: str = "") -> str:
    """Return the content of `data.yaml`: the class names and, if given, the photographs' folder.

    The folder is relative to the file. It stands for `val`, too, without which Ultralytics refuses
    the file.
    """
    import yaml

    folders = {"train": photographs, "val": photographs} if photographs else {}
    content = {**folders, "names": dict(enumerate(classes))}
    return yaml.safe_dump(content, allow_unicode=True, sort_keys=False)


def outline(mask: np.ndarray) -> np.ndarray:
    """Return the polygon (N, 2) of x, y around the pixels of a connected (h, w) bool mask.

    Pixel 0 is from 0 to 1. The polygon runs along the pixels' edges. Holes are joined to it.
    """
    polygon, *holes = sorted(_rings(mask), key=lambda ring: ring[:, 0].min())
    for hole in holes:
        polygon = _joined(polygon, hole, mask)
    return polygon


def _rings(mask: np.ndarray) -> list[np.ndarray]:
    """Return the corners (N, 2) of the lines between the pixels of a mask and the others."""
    from contourpy import contour_generator

    # Lines between the centres of pixels, which cross the edges of the pixels in the middle. The
    # level is a little below that, so that pixels that touch at a corner are joined.
    centres = np.pad(mask, 1).astype(np.float32)
    rings = []
    for line in contour_generator(z=centres).lines(0.499):
        here = np.round(2 * np.asarray(line, float)[:-1]) / 2 - 0.5
        after = np.roll(here, -1, axis=0)
        # The line cuts a corner where both coordinates change.
        turns = (here != after).all(1)
        here, after = here[turns], after[turns]
        on_vertical = here[:, 0] % 1 == 0
        x = np.where(on_vertical, here[:, 0], after[:, 0])
        y = np.where(on_vertical, after[:, 1], here[:, 1])
        rings.append(np.stack([x, y], 1))
    return rings


def _joined(polygon: np.ndarray, hole: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the polygon with a hole in it, joined by a bridge there and back.

    The bridge goes from the leftmost edge of the hole to the left, through the middle of pixels of
    the mask, up to an edge of the polygon. Holes that begin further to the left are joined already.
    """
    after, beyond = np.roll(hole, -1, axis=0), np.roll(polygon, -1, axis=0)
    left = hole[:, 0].min()
    start = int(np.argmax((hole[:, 0] == left) & (after[:, 0] == left)))
    y = min(hole[start, 1], after[start, 1]) + 0.5
    outside = np.flatnonzero(~mask[int(y), : int(left)])
    right = outside[-1] + 1 if len(outside) else 0
    is_crossed = (polygon[:, 1] - y) * (beyond[:, 1] - y) < 0
    end = int(np.argmax((polygon[:, 0] == right) & (beyond[:, 0] == right) & is_crossed))
    there, here = [[right, y]], [[left, y]]
    around = [here, hole[start + 1 :], hole[: start + 1], here]
    return np.concatenate([polygon[: end + 1], there, *around, there, polygon[end + 1 :]])
