"""Photographs and their labels as a data set for other programs: COCO, YOLO or VOC."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from i2crc.data.coco_labels import coco_file, coco_objects
from i2crc.data.images import image_format, read_label, read_photo, working_copy
from i2crc.data.yolo_labels import yolo_data, yolo_lines
from i2crc.runtime.atomic import digest_bytes, write_bytes
from i2crc.runtime.errors import FileError
from i2crc.runtime.parallel import map_in_order

# Photographs that are worked on at the same time; each takes memory.
AT_A_TIME = min(4, os.cpu_count() or 1)
# Formats of photographs that are copied -> the ending of their names. VOC has nothing but JPEGs.
JPEG = {"JPEG": ".jpg", "MPO": ".jpg"}
COPIED = {**JPEG, "PNG": ".png", "BMP": ".bmp", "WEBP": ".webp", "TIFF": ".tif"}
# A name has at most this many bytes, which leaves room for its ending.
LONGEST = 200


@dataclass(frozen=True)
class LabelledPhoto:
    """A photograph and its label image, with the digest of each when the label was made."""

    id: str
    photo: Path
    photo_sha256: str
    label: Path
    label_sha256: str


# Writes labelled photographs and the class names to a folder. Yields for each photograph its name
# in the data set, which is below the folder of the photographs and has no ending.
Export = Callable[[Path, Sequence[str], Sequence[LabelledPhoto]], Iterator[str]]


def export_coco(
    folder: Path, classes: Sequence[str], photos: Sequence[LabelledPhoto]
) -> Iterator[str]:
    """Write `annotations/train.json` and `images/`; a photograph keeps its id."""

    def work(one: LabelledPhoto) -> tuple[str, tuple[int, int], list[dict]]:
        label = _label(one)
        file = _copy_photo(one, folder / "images" / one.id, COPIED)
        name = file.relative_to(folder / "images").as_posix()
        return name, label.shape[::-1], coco_objects(label)

    with coco_file(folder / "annotations/train.json", classes) as add:
        for one, result in zip(photos, map_in_order(work, photos, AT_A_TIME), strict=True):
            add(*result)
            yield one.id


def export_yolo(
    folder: Path, classes: Sequence[str], photos: Sequence[LabelledPhoto]
) -> Iterator[str]:
    """Write `data.yaml`, `images/train` and `labels/train`; the names of photographs are flat."""
    names = flat_names(one.id for one in photos)

    def work(one: LabelledPhoto) -> str:
        name = names[one.id]
        lines = yolo_lines(_label(one))
        _copy_photo(one, folder / "images/train" / name, COPIED)
        write_bytes(folder / "labels/train" / f"{name}.txt", lines.encode())
        return name

    yield from map_in_order(work, photos, AT_A_TIME)
    write_bytes(folder / "data.yaml", yolo_data(classes, "images/train").encode())


def export_voc(
    folder: Path, classes: Sequence[str], photos: Sequence[LabelledPhoto]
) -> Iterator[str]:
    """Write `VOCdevkit/VOC2012`, as VOC has it, and the names of the classes, one a line.

    The names of photographs are flat. Photographs that are no JPEGs are converted.
    """
    root = folder / "VOCdevkit/VOC2012"
    names = flat_names(one.id for one in photos)

    def work(one: LabelledPhoto) -> str:
        name = names[one.id]
        _copy_photo(one, root / "JPEGImages" / name, JPEG)
        write_bytes(
            root / "SegmentationClass" / f"{name}.png", _content(one.label, one.label_sha256)
        )
        return name

    yield from map_in_order(work, photos, AT_A_TIME)
    listed = "".join(f"{name}\n" for name in names.values())
    write_bytes(root / "ImageSets/Segmentation/train.txt", listed.encode())
    write_bytes(root / "classes.txt", "".join(f"{name}\n" for name in classes).encode())


EXPORTS: dict[str, Export] = {"coco": export_coco, "yolo": export_yolo, "voc": export_voc}


def flat_names(ids: Iterable[str]) -> dict[str, str]:
    """Return id -> a file name without folders: letters, digits, `-`, `_` and `.`.

    Any other character becomes `_`. A name that is taken gets a number; case does not tell apart.
    """
    plain = {image_id: re.sub(r"[^\w.-]|^\.", "_", image_id) for image_id in ids}
    names: dict[str, str] = {}
    taken: set[str] = set()
    # Ids that can stay do not make way for others.
    for image_id in sorted(plain, key=lambda one: plain[one] != one):
        short = plain[image_id].encode()[:LONGEST].decode(errors="ignore")
        name, number = short, 1
        while name.casefold() in taken:
            number += 1
            name = f"{short}_{number}"
        taken.add(name.casefold())
        names[image_id] = name
    return {image_id: names[image_id] for image_id in plain}


def _label(one: LabelledPhoto) -> np.ndarray:
    """Return the (H, W) uint8 label of a photograph; raise FileError if it was changed."""
    _content(one.label, one.label_sha256)
    return read_label(one.label)


def _copy_photo(one: LabelledPhoto, target: Path, formats: Mapping[str, str]) -> Path:
    """Write a photograph to `target` with the ending of its format, and return that path.

    A format that is none of `formats`, and an image that its EXIF data turn, which many programs
    ignore, become an upright JPEG.
    """
    suffix = formats.get(image_format(one.photo))
    content = _content(one.photo, one.photo_sha256)
    file = target.with_name(target.name + (suffix or ".jpg"))
    write_bytes(file, content if suffix else working_copy(read_photo(one.photo)))
    return file


def _content(file: Path, sha256: str) -> bytes:
    """Return the content of a file; raise FileError if it is not the one that was labelled."""
    content = file.read_bytes() if file.is_file() else b""
    if digest_bytes(content) != sha256:
        problem = "changed since the labels were made" if file.is_file() else "missing"
        raise FileError(file, problem, "run the pipeline again, then export")
    return content
