"""The format `coco`: an annotation JSON. The classes of a photograph are those of its objects."""

import json
import math
import os
from pathlib import Path
from typing import Any

from i2crc.config.schema import composed
from i2crc.data.index import collecting
from i2crc.data.label_lists import read_text
from i2crc.data.labelled import Labelled, Labels, means_none
from i2crc.data.photographs import Photographs
from i2crc.runtime.errors import FileError, Problem, counted, listing

# List of the file -> the keys of its objects.
KEYS = {
    "images": ("id", "file_name"),
    "categories": ("id", "name"),
    "annotations": ("image_id", "category_id"),
}


def read_coco(file: Path, photographs: Photographs, _known: list[str]) -> Labels:
    """Return the photographs of an annotation file, with the shapes of their objects."""
    labels = Labels()
    with collecting(labels.problems):
        content = read_content(file)
        names = {one["id"]: composed(str(one["name"]).strip()) for one in content["categories"]}
        folder = os.path.relpath(file.parent, photographs.folder)
        images: dict[Any, Labelled] = {}
        for one in content["images"]:
            place = f"{file}: image {one['id']}"
            with collecting(labels.problems):
                beside = photographs.get(f"{folder}/{one['file_name']}")
                name = beside or photographs.find(str(one["file_name"]), place)
                if one["id"] in images or name in labels.photographs:
                    remedy = "take one of its entries out"
                    raise FileError(place, f"{one['file_name']} is listed twice", remedy)
                found = Labelled(set(), place, shapes=[], size=_size(one))
                images[one["id"]] = labels.photographs[name] = found
        _add_objects(labels, file, content, images, names)
        in_order = (names[number] for number in sorted(names, key=lambda n: (str(type(n)), n)))
        labels.classes = [name for name in in_order if not means_none(name)]
    return labels


def _add_objects(
    labels: Labels,
    file: Path,
    content: dict[str, Any],
    images: dict[Any, Labelled],
    names: dict[Any, str],
) -> None:
    """Give the photographs the classes and shapes of their objects."""
    listed = {one["id"] for one in content["images"]}
    annotations = content["annotations"]
    without_image = [one["image_id"] for one in annotations if one["image_id"] not in listed]
    files = {one["id"]: str(one["file_name"]) for one in content["images"]}
    unknown: dict[Any, dict[Any, None]] = {}  # category -> its images, a set in their order
    for one in annotations:
        if one["category_id"] not in names and one["image_id"] in files:
            unknown.setdefault(one["category_id"], {})[one["image_id"]] = None
    for number, ids in unknown.items():
        problem = f"category_id {number} is none of its categories"
        problem += f" (objects of {listing([files[i] for i in ids])})"
        labels.problems.append(Problem(str(file), problem, "add it to `categories`"))
        places = {images[i].place for i in ids if i in images}
        for name in [*labels.photographs]:
            if labels.photographs[name].place in places:
                del labels.photographs[name]  # nobody knows what it shows
    if without_image:
        examples = listing([*dict.fromkeys(map(str, without_image))])
        problem = f"{counted(len(without_image), 'annotation')} of images that it does not list"
        remedy = "add these to `images`, or take the annotations out"
        labels.problems.append(Problem(str(file), f"{problem} ({examples})", remedy))
    have_shapes = any(one.get("segmentation") for one in annotations)
    for one in images.values() if not have_shapes else ():
        one.shapes = None
    boxes = 0
    for annotation in annotations:
        image, label = images.get(annotation["image_id"]), names.get(annotation["category_id"])
        if image is None or label is None or means_none(label):
            continue
        image.labels.add(label)
        if not annotation.get("segmentation"):
            boxes, image.shapes = boxes + 1, None
        elif image.shapes is not None:
            keys = ("segmentation", "area", "iscrowd")
            shape = {key: annotation[key] for key in keys if key in annotation}
            image.shapes.append({"label": label, **shape})
    if boxes:
        labels.warnings.append(
            f"{file}: {counted(boxes, 'annotation')} without a segmentation: photographs with such "
            "objects have no mask to score with"
        )


def _size(image: dict[str, Any]) -> tuple[int, int] | None:
    """Return the width and height of an image's entry, None if it does not say them."""
    sides = [image.get("width"), image.get("height")]
    width, height = (
        round(side) if isinstance(side, int | float) and 1 <= side < math.inf else 0
        for side in sides
    )
    return (width, height) if width and height else None


def read_content(file: Path) -> dict[str, Any]:
    """Return an annotation file's content; raise FileError unless it has what is read of it."""
    remedy = "give a COCO annotation file with images, annotations and categories"
    try:
        content = json.loads(read_text(file))
    except (ValueError, RecursionError) as error:
        raise FileError(file, f"not valid JSON ({error})", remedy) from error
    for name, keys in KEYS.items():
        entries = content.get(name) if isinstance(content, dict) else None
        if not isinstance(entries, list):
            raise FileError(file, f"has no list `{name}`", remedy)
        for number, one in enumerate(entries):
            values = [one.get(key) if isinstance(one, dict) else None for key in keys]
            if not all(isinstance(value, int | str) for value in values):
                problem = f"has no `{keys[0]}` and `{keys[1]}` that are whole numbers or texts"
                raise FileError(f"{file}: {name}[{number}]", problem, remedy)
    return content
