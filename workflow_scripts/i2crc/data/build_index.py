"""Build the index of a split: read its list, decode photographs and masks, collect all problems."""

import unicodedata
from pathlib import Path

import numpy as np

from i2crc.config.schema import Dataset
from i2crc.data.images import IGNORE, read_label, read_photo
from i2crc.data.index import Entry, Index, collecting
from i2crc.data.label_lists import ListRow, read_label_list, read_text
from i2crc.runtime.atomic import digest_file
from i2crc.runtime.errors import FileError, Problem
from i2crc.runtime.parallel import map_in_order


def class_names(root: Path, dataset: Dataset) -> list[str]:
    """Return the foreground classes: those of the settings, else the lines of root/classes.txt.

    Raise FileError if there are none, or if a name comes twice.
    """
    if dataset.classes:
        return dataset.classes
    file = root / "classes.txt"
    if not file.is_file():
        raise FileError(file, "missing", "write it, a class a line, or set dataset.classes")
    names = [line.strip() for line in read_text(file).splitlines() if line.strip()]
    if not names or len(set(names)) < len(names):
        raise FileError(file, f"found the class names {names}", "give at least one, each once")
    return names


def build_index(split: str, root: Path, dataset: Dataset, workers: int) -> Index:
    """Return the index of a split ("train", "val" or "test") of a data set, with all its problems.

    Every photograph and mask is decoded. A training image needs at least one class.
    """
    if not root.is_dir():
        remedy = "give yours with --config dataset='{root: FOLDER}'"
        missing = Problem(f"dataset.root: {root}", "no such folder", remedy)
        return Index(split, [], [], problems=[missing])
    problems: list[Problem] = []
    rows: list[ListRow] = []
    classes: list[str] | None = None  # if they are unknown
    with collecting(problems):
        classes = class_names(root, dataset)
    name = getattr(dataset, f"{split}_list")
    if name:
        rows, in_list = read_label_list(root / name, classes)
        problems += in_list
    else:
        remedy = f"name the list of the {split} images"
        problems.append(Problem(f"dataset.{split}_list", "is empty", remedy))
    # Batches are drawn by number, so the order of the lines must not matter.
    rows = sorted(rows[: dataset.limit], key=lambda row: row.id)
    folder = root / dataset.images
    if not folder.is_dir():
        missing = Problem(f"dataset.images: {folder}", "no such folder", "correct the setting")
        return Index(split, classes or [], [], [row.id for row in rows], [*problems, missing])
    similar = {_plain(path.stem): path.name for path in folder.iterdir()}

    def read(row: ListRow) -> Entry | list[Problem]:
        return _read_entry(row, split, root, dataset, classes, similar)

    images: list[Entry] = []
    left_out: list[str] = []
    for row, found in zip(rows, map_in_order(read, rows, workers), strict=True):
        if isinstance(found, Entry):
            images.append(found)
        else:
            left_out.append(row.id)
            problems += found
    return Index(split, classes or [], images, left_out, problems)


def _read_entry(
    row: ListRow,
    split: str,
    root: Path,
    dataset: Dataset,
    classes: list[str] | None,
    similar: dict[str, str],
) -> Entry | list[Problem]:
    """Return the entry of an image, or its problems (none if its line has problems alone).

    `similar` maps the name of each photograph in plain form to the name of its file.
    """
    problems: list[Problem] = []
    image = root / dataset.images / f"{row.id}{dataset.image_suffix}"
    mask = root / dataset.masks / f"{row.id}.png"
    has_mask = bool(dataset.masks) and mask.is_file()
    from_mask = dataset.labels_from == "masks" and split != "test"
    size = in_mask = None
    with collecting(problems):
        near = similar.get(_plain(image.stem))
        if near and not image.is_file():
            remedy = f"{near!r} is there: rename it, correct the list, or set dataset.image_suffix"
            raise FileError(image, "missing", remedy)
        size = read_photo(image, dataset.max_pixels).size
    with collecting(problems):
        if has_mask:
            in_mask = _read_mask(mask, size, classes, dataset.max_pixels)
        elif from_mask:
            problem = "missing, and dataset.labels_from is masks"
            raise FileError(mask, problem, "add it, or take its image out of the list")
    labels = in_mask if from_mask else row.classes
    are_known = row.usable and classes is not None and not (from_mask and in_mask is None)
    if split == "train" and are_known and not labels:
        remedy = "correct its mask" if from_mask else "give its classes in the list"
        problem = f"{row.id}: a training image without a class"
        problems.append(Problem(row.place, problem, f"{remedy}, or take it out of the list"))
    if problems or size is None or not row.usable:
        return problems
    mask_sha256 = digest_file(mask) if has_mask else None
    path = str(mask) if has_mask else None
    return Entry(row.id, str(image), path, labels, *size, digest_file(image), mask_sha256)


def classes_in_mask(mask: np.ndarray) -> list[int]:
    """Return the sorted 0-based foreground classes of an (H, W) uint8 mask.

    In the mask, 0 is background, n + 1 is class n and 255 is ignored.
    """
    return [int(value) - 1 for value in np.unique(mask) if value not in (0, IGNORE)]


def _read_mask(
    path: Path, size: tuple[int, int] | None, classes: list[str] | None, max_pixels: int
) -> list[int]:
    """Return the classes in a mask; raise FileError unless it fits the photograph and the classes.

    `size` is the (width, height) of the photograph, None if it cannot be read.
    """
    mask = read_label(path, max_pixels)
    height, width = mask.shape
    if size and size != (width, height):
        problem = "size {}x{}, the photograph has {}x{}".format(width, height, *size)
        raise FileError(path, problem, "give the mask of this photograph, of its size as displayed")
    found = classes_in_mask(mask)
    unknown = [str(number + 1) for number in found if classes and number >= len(classes)]
    if classes and unknown:
        problem = f"value {', '.join(unknown[:5])}, but there are {len(classes)} classes"
        remedy = f"use 0 for background, 1 to {len(classes)} for classes, 255 for ignored pixels"
        raise FileError(path, problem, remedy)
    return found


def _plain(name: str) -> str:
    """Return a name without differences that people do not see."""
    return unicodedata.normalize("NFKC", name).casefold().strip()
