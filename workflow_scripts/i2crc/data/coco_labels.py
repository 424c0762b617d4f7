"""Labels as a COCO annotation file: an annotation for each connected region of a class.

The regions are run lengths, which hold their pixels exactly. Pixels of value 255 are in no
annotation, so they become background.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from i2crc.data.regions import Region, regions
from i2crc.runtime.atomic import atomic_path

# Adds a photograph: file name, (width, height), what `coco_objects` returned for its label.
Add = Callable[[str, tuple[int, int], list[dict[str, Any]]], None]


def coco_objects(label: np.ndarray) -> list[dict[str, Any]]:
    """Return the annotations of an (H, W) uint8 label, which has the size of its photograph.

    Category n is the label's value n, 1..K. The ids of annotation and image are not set yet.
    """
    return [
        {
            "category_id": region.value,
            "segmentation": _run_lengths(region, label.shape),
            "area": int(region.mask.sum()),
            "bbox": [region.left, region.top, *region.mask.shape[::-1]],
            "iscrowd": 0,
        }
        for region in regions(label)
    ]


def _run_lengths(region: Region, shape: tuple[int, ...]) -> dict[str, Any]:
    """Return the compressed run lengths of a region, down the columns of a label of (H, W) shape.

    Only the columns of the region are looked at, since a large label may have many small regions.
    """
    from pycocotools import mask

    height, width = shape
    columns = np.zeros((height, region.mask.shape[1]), bool)
    columns[region.top : region.top + len(region.mask)] = region.mask
    changes = np.flatnonzero(np.diff(columns.ravel("F"), prepend=False, append=False))
    counts = np.diff(changes + region.left * height, prepend=0, append=height * width)
    runs = {"size": [height, width], "counts": np.trim_zeros(counts, "b").tolist()}
    return {**runs, "counts": mask.frPyObjects(runs, height, width)["counts"].decode()}


@contextmanager
def coco_file(path: Path, classes: Sequence[str]) -> Iterator[Add]:
    """Write an annotation file by atomic rename; yield the function that adds a photograph.

    A photograph's annotations are written at once, so the file may be larger than the memory::

        with coco_file(folder / "annotations.json", classes) as add:
            add("cat.jpg", (width, height), coco_objects(label))
    """
    images: list[dict[str, Any]] = []
    count = 0
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write('{"annotations": [')

        def add(name: str, size: tuple[int, int], objects: list[dict[str, Any]]) -> None:
            nonlocal count
            width, height = size
            image = {"id": len(images) + 1, "file_name": name, "width": width, "height": height}
            images.append(image)
            for one in objects:
                file.write(",\n" if count else "\n")
                count += 1
                file.write(json.dumps({"id": count, "image_id": image["id"], **one}))

        yield add
        categories = [{"id": number, "name": name} for number, name in enumerate(classes, 1)]
        file.write(f'\n],\n"images": {json.dumps(images)},\n"categories": {json.dumps(categories)}')
        file.write("}\n")
