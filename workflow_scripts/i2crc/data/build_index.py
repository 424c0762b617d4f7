"""Build the index of a split: read its list, decode photographs and masks, collect all problems."""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from i2crc.artifacts.hash_cache import FileFacts, HashCache
from i2crc.config.schema import Dataset
from i2crc.data.images import IGNORE, read_label, read_photo
from i2crc.data.index import Entry, Index
from i2crc.data.label_lists import ListRow, read_label_list, read_text
from i2crc.runtime.errors import FileError, Problem
from i2crc.runtime.parallel import map_in_order

# Whether labels come from masks -> the remedy for a training image without a class.
NO_CLASS = {
    False: "give its classes in the list, or take it out",
    True: "its mask shows none: correct it, or take the image out of the list",
}


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


def build_index(
    split: str,
    root: Path,
    dataset: Dataset,
    classes: list[str] | None,
    workers: int,
    cache: HashCache | None = None,
) -> Index:
    """Return the index of a split ("train", "val" or "test") of a data set, with all its problems.

    Every photograph and mask is decoded, unless `cache` remembers it. A training image needs at
    least one class. `classes` is None if the class names are unknown. Raise FileError if the
    settings name no list for the split.
    """
    rows, problems = read_label_list(list_file(root, dataset, split), classes)
    reader = _ImageReader(split, root, dataset, classes, cache or HashCache())
    # Batches are drawn by number, so the order of the lines must not matter.
    rows = sorted(rows[: dataset.limit], key=lambda row: row.id)
    folder = root / dataset.images
    if not folder.is_dir():
        missing = Problem(f"dataset.images: {folder}", "no such folder", "correct the setting")
        left_out = [row.id for row in rows]
        return Index(split, classes or [], [], left_out, [*problems, missing])
    found = list(map_in_order(reader, rows, workers))
    entries = [one for one in found if isinstance(one, Entry)]
    left_out = [row.id for row, one in zip(rows, found, strict=True) if not isinstance(one, Entry)]
    problems += [problem for one in found if not isinstance(one, Entry) for problem in one]
    return Index(split, classes or [], entries, left_out, problems)


def list_file(root: Path, dataset: Dataset, split: str) -> Path:
    """Return the path of the image list of a split; raise FileError if the settings name none."""
    name = getattr(dataset, f"{split}_list")
    if not name:
        raise FileError(f"dataset.{split}_list", "is empty", f"name the list of the {split} images")
    return root / name


def classes_in_mask(mask: np.ndarray) -> list[int]:
    """Return the sorted 0-based foreground classes of an (H, W) uint8 mask.

    In the mask, 0 is background, n + 1 is class n and 255 is ignored.
    """
    return [int(value) - 1 for value in np.unique(mask) if value not in (0, IGNORE)]


@dataclass(frozen=True)
class _ImageReader:
    """Reads the photograph and the mask of a row; returns its entry, or its problems."""

    split: str
    root: Path
    dataset: Dataset
    classes: list[str] | None
    cache: HashCache

    def __call__(self, row: ListRow) -> Entry | list[Problem]:
        image = self.root / self.dataset.images / f"{row.id}{self.dataset.image_suffix}"
        mask = self.root / self.dataset.masks / f"{row.id}.png"
        has_mask = bool(self.dataset.masks) and mask.is_file()
        from_mask = self.dataset.labels_from == "masks" and self.split != "test"
        problems: list[Problem] = []
        photo = label = None
        try:
            photo = self.cache.facts(image, "photo", self._look_at_photo)
        except FileError as error:
            problems.append(self._with_hint(image, error.problem))
        if has_mask:
            try:
                label = self.cache.facts(mask, "mask", self._look_at_mask)
                problems += self._mask_problems(mask, label, photo)
            except FileError as error:
                problems.append(error.problem)
        elif from_mask:
            problem = "missing, and dataset.labels_from is masks"
            remedy = "add it, or take its image out of the list"
            problems.append(Problem(str(mask), problem, remedy))
        classes = row.classes
        if from_mask:
            classes = label["classes"] if label else None
        are_known = row.usable and self.classes is not None and not (from_mask and label is None)
        if self.split == "train" and are_known and not classes:
            problem = f"{row.id}: a training image without a class"
            problems.append(Problem(row.place, problem, NO_CLASS[from_mask]))
        if problems or photo is None or not row.usable:
            return problems
        return Entry(
            id=row.id,
            image=str(image),
            mask=str(mask) if has_mask else None,
            classes=classes,
            width=photo["width"],
            height=photo["height"],
            sha256=photo["sha256"],
            mask_sha256=label["sha256"] if label else None,
        )

    def _look_at_photo(self, path: Path) -> FileFacts:
        width, height = read_photo(path, self.dataset.max_pixels).size
        return {"width": width, "height": height}

    def _look_at_mask(self, path: Path) -> FileFacts:
        mask = read_label(path, self.dataset.max_pixels)
        height, width = mask.shape
        return {"width": width, "height": height, "classes": classes_in_mask(mask)}

    def _mask_problems(
        self, mask: Path, label: FileFacts, photo: FileFacts | None
    ) -> Iterator[Problem]:
        """Yield what does not fit between a mask, its photograph and the classes."""
        size = label["width"], label["height"]
        if photo and size != (photo["width"], photo["height"]):
            yield Problem(
                str(mask),
                "size {}x{}, the photograph has {}x{}".format(
                    *size, photo["width"], photo["height"]
                ),
                "give the mask of this photograph, of its size as displayed",
            )
        if self.classes is None:
            return
        count = len(self.classes)
        unknown = [c + 1 for c in label["classes"] if c >= count]
        if unknown:
            yield Problem(
                str(mask),
                f"value {', '.join(map(str, unknown[:5]))}, but there are {count} classes",
                f"use 0 for background, 1 to {count} for the classes, 255 for ignored pixels",
            )

    def _with_hint(self, image: Path, problem: Problem) -> Problem:
        """Return the problem of a photograph; if it is missing, name a file of similar name."""
        near = None if image.exists() else self._photographs.get(_plain(image.stem))
        if near is None:
            return problem
        remedy = f"{near!r} is there: rename it, correct the list, or set dataset.image_suffix"
        return Problem(problem.file, problem.problem, remedy)

    @cached_property
    def _photographs(self) -> dict[str, str]:
        """The names of all photographs, by their name in plain form."""
        folder = self.root / self.dataset.images
        return {_plain(path.stem): path.name for path in folder.glob("*")}


def _plain(name: str) -> str:
    """Return a name without differences that people do not see."""
    return unicodedata.normalize("NFKC", name).casefold().strip()
