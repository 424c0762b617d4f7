"""Build the index of a split: read its list, decode its photographs and masks, gather all problems."""

import functools
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from i2crc.artifacts.hash_cache import FileFacts, HashCache
from i2crc.config.schema import Dataset
from i2crc.data.images import IGNORE, read_label, read_photo
from i2crc.data.index import Entry, Index
from i2crc.data.label_lists import ListRow, read_label_list, read_text
from i2crc.runtime.errors import FileError, Problem
from i2crc.runtime.parallel import map_in_order


def class_names(root: Path, dataset: Dataset) -> list[str]:
    """The foreground classes: those of the settings, else the lines of `classes.txt` in `root`."""
    if dataset.classes:
        return dataset.classes
    file = root / "classes.txt"
    if not file.is_file():
        raise FileError(file, "missing", "write it, a class a line, or set dataset.classes")
    names = [line.strip() for line in read_text(file).splitlines() if line.strip()]
    if not names or len(set(names)) < len(names):
        raise FileError(file, f"found the class names {names}", "give at least one, each once")
    return names


def build_index(
    split: str,
    root: Path,
    dataset: Dataset,
    classes: list[str] | None,
    workers: int,
    cache: HashCache | None = None,
) -> Index:
    """Index one split (`train`, `val` or `test`) of a VOC-layout folder, with all its problems.

    Every photograph and every mask is decoded, unless `cache` remembers it. Training images need
    at least one class each. `classes` is None where their names are not known.
    """
    file = list_file(root, dataset, split)
    rows, problems = read_label_list(file, classes)
    reader = _ImageReader(split, root, dataset, classes, cache or HashCache())
    # Sorted, because the order of the lines means nothing: training batches are drawn by number.
    rows = sorted(rows[: dataset.limit], key=lambda row: row.id)
    folder = root / dataset.images
    if not folder.is_dir():
        problems.append(
            Problem(f"dataset.images: {folder}", "no such folder", "correct the setting")
        )
        return Index(split, classes or [], [], [row.id for row in rows], problems)
    found = list(map_in_order(reader, rows, workers))
    entries = [one for one in found if isinstance(one, Entry)]
    left_out = [row.id for row, one in zip(rows, found, strict=True) if not isinstance(one, Entry)]
    problems += [problem for one in found if not isinstance(one, Entry) for problem in one]
    return Index(split, classes or [], entries, left_out, problems)


def list_file(root: Path, dataset: Dataset, split: str) -> Path:
    """The image list of a split."""
    name = {"train": dataset.train_list, "val": dataset.val_list, "test": dataset.test_list}[split]
    if not name:
        raise FileError(f"dataset.{split}_list", "is empty", f"name the list of the {split} images")
    return root / name


def classes_in_mask(mask: np.ndarray) -> list[int]:
    """The 0-based foreground classes of a (H, W) uint8 mask (0 background, 255 ignore)."""
    return [int(value) - 1 for value in np.unique(mask) if value not in (0, IGNORE)]


@dataclass(frozen=True)
class _ImageReader:
    """Reads the photograph and the mask of a row: returns its entry, or its problems."""

    split: str
    root: Path
    dataset: Dataset
    classes: list[str] | None
    cache: HashCache

    def __call__(self, row: ListRow) -> Entry | list[Problem]:
        image = self.root / self.dataset.images / f"{row.id}{self.dataset.image_suffix}"
        mask = self.root / self.dataset.masks / f"{row.id}.png" if self.dataset.masks else None
        if mask is not None and not mask.is_file():
            mask = None
        from_masks = self.dataset.labels_from == "masks" and self.split != "test"
        found: list[Problem] = []
        photo = self._facts(image, "photo", self._photo, found)
        label = self._facts(mask, "mask", self._mask, found) if mask else None
        if mask and label:
            found += self._unfit(mask, label, photo)
        classes = row.classes
        if from_masks:
            classes = label and label["classes"]
            if mask is None:
                found.append(
                    Problem(
                        f"{self.root / self.dataset.masks / row.id}.png",
                        "missing, and dataset.labels_from is masks",
                        "add it, or take its image out of the list",
                    )
                )
        known = row.usable and self.classes is not None and (label or not from_masks)
        if self.split == "train" and known and not classes:
            found.append(
                Problem(
                    row.place, f"{row.id}: a training image without a class", NO_CLASS[from_masks]
                )
            )
        if found or not photo or not row.usable:
            return found
        size = photo["width"], photo["height"]
        return Entry(
            row.id,
            str(image),
            str(mask) if mask else None,
            classes,
            *size,
            photo["sha256"],
            label["sha256"] if label else None,
        )

    def _facts(self, path: Path, kind: str, look: Any, found: list[Problem]) -> FileFacts | None:
        """The facts of a file, or None and one problem more."""
        try:
            return self.cache.facts(path, kind, look)
        except FileError as error:
            found.append(_hinted(error.problem) if kind == "photo" else error.problem)
            return None

    def _photo(self, path: Path) -> FileFacts:
        width, height = read_photo(path, self.dataset.max_pixels).size
        return {"width": width, "height": height}

    def _mask(self, path: Path) -> FileFacts:
        mask = read_label(path, self.dataset.max_pixels)
        height, width = mask.shape
        return {"width": width, "height": height, "classes": classes_in_mask(mask)}

    def _unfit(self, mask: Path, label: FileFacts, photo: FileFacts | None) -> Iterable[Problem]:
        """What is wrong with a mask that is one, for its photograph and the classes."""
        size = label["width"], label["height"]
        if photo and size != (photo["width"], photo["height"]):
            yield Problem(
                str(mask),
                "size {}x{}, the photograph has {}x{}".format(
                    *size, photo["width"], photo["height"]
                ),
                "give the mask of this photograph, of its size as displayed",
            )
        classes = len(self.classes or [])
        unknown = [c + 1 for c in label["classes"] if c >= classes]
        if unknown and self.classes is not None:
            yield Problem(
                str(mask),
                f"value {', '.join(map(str, unknown[:5]))}, but there are {classes} classes",
                f"use 0 for background, 1 to {classes} for the classes, 255 for ignored pixels",
            )


# Whether labels come from masks -> how a training image gets a class.
NO_CLASS = {
    False: "give its classes in the list, or take it out",
    True: "its mask shows none: correct it, or take the image out of the list",
}


def _hinted(problem: Problem) -> Problem:
    """The problem of a missing photograph, with the file that was probably meant."""
    path = Path(problem.file)
    near = _names(path.parent).get(_plain(path.stem)) if not path.exists() else None
    if near is None:
        return problem
    remedy = f"{near!r} is there: rename it, correct the list, or set dataset.image_suffix"
    return Problem(problem.file, problem.problem, remedy)


@functools.cache
def _names(folder: Path) -> dict[str, str]:
    """Files of a folder by what people take for their name."""
    return {_plain(path.stem): path.name for path in folder.glob("*")}


def _plain(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold().strip()
