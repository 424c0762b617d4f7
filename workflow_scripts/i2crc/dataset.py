"""The index of a data set: which images a split has, their classes, masks, sizes and digests.

An index is a JSON file ``{"split", "classes", "images": [entry, ...]}``; an entry is ``{"id",
"image", "mask" (or null), "classes" (0-based, or null), "width", "height", "sha256"}``. The digest
covers everything of an image that a later stage reads, so a replaced file changes its entry.
"""

import re
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from i2crc.artifacts import IndexFile, read_checked
from i2crc.config import Dataset
from i2crc.files import InputError, digest_file
from i2crc.images import IGNORE, read_label, read_photo


@dataclass(frozen=True)
class Entry:
    """One image of a split."""

    id: str
    image: str
    mask: str | None
    classes: list[int] | None
    width: int
    height: int
    sha256: str


@dataclass(frozen=True)
class Index:
    """The images of a split (or of one shard of it) and the names of the foreground classes."""

    split: str
    classes: list[str]
    images: list[Entry]


def read_index(path: Path) -> Index:
    """Read an index file."""
    content = read_checked(path, IndexFile)
    try:
        entries = [Entry(**entry) for entry in content["images"]]
        return Index(content["split"], content["classes"], entries)
    except (TypeError, KeyError) as error:
        raise InputError(f"{path}: not an index ({error!r}); run prepare_data again") from error


def index_json(index: Index) -> dict[str, Any]:
    """The JSON content of an index."""
    return {
        "split": index.split,
        "classes": index.classes,
        "images": [vars(entry) for entry in index.images],
    }


def class_names(root: Path, dataset: Dataset) -> list[str]:
    """The foreground classes: those of the settings, else the lines of `classes.txt` in `root`."""
    if dataset.classes:
        return dataset.classes
    file = root / "classes.txt"
    if not file.is_file():
        raise InputError(f"{file}: missing; write it, a class a line, or set dataset.classes")
    names = [line.strip() for line in read_text(file).splitlines() if line.strip()]
    if not names or len(set(names)) < len(names):
        raise InputError(f"{file}: needs class names, each once; found {names}")
    return names


def build_index(
    split: str, root: Path, dataset: Dataset, classes: list[str], workers: int
) -> Index:
    """Index one split (`train`, `val` or `test`) of a VOC-layout folder.

    Training images need at least one class each. All problems are gathered into one InputError.
    """
    file = list_file(root, dataset, split)
    rows = read_label_list(file, len(classes))[: dataset.limit]
    problems: list[str] = []

    def entry(row: tuple[str, list[int] | None]) -> Entry | None:
        try:
            return _entry(row, split, root, dataset, len(classes))
        except InputError as error:
            problems.append(str(error))
            return None

    with ThreadPoolExecutor(workers) as pool:
        entries = [found for found in pool.map(entry, rows) if found]
    if problems:
        raise InputError(f"{file}: {len(problems)} problems:\n" + "\n".join(sorted(problems)))
    return Index(split, classes, entries)


def list_file(root: Path, dataset: Dataset, split: str) -> Path:
    """The image list of a split."""
    name = {"train": dataset.train_list, "val": dataset.val_list, "test": dataset.test_list}[split]
    if not name:
        raise InputError(f"dataset.{split}_list is empty: name the list of the {split} images")
    return root / name


def read_label_list(path: Path, num_classes: int) -> list[tuple[str, list[int] | None]]:
    """Read lines `id` or `id class class ...` (0-based); all bad lines are one InputError."""
    lines = read_text(path).splitlines()
    rows: dict[str, list[int] | None] = {}
    problems = []
    for number, line in enumerate(lines, 1):
        name, *fields = line.split() or [""]
        if not name:
            continue
        if name in rows:
            problems.append(f"{path}:{number}: image `{name}` is listed twice")
        # Ten digits and more are no class, and Python refuses to read thousands of them.
        bad = [f for f in fields if not (re.fullmatch("[0-9]{1,9}", f) and int(f) < num_classes)]
        if bad:
            problems.append(
                f"{path}:{number}: `{bad[0]}` is no class; classes are 0 to {num_classes - 1}"
            )
            continue
        rows[name] = sorted({int(field) for field in fields}) or None
    if problems:
        raise InputError("\n".join(problems))
    if not rows:
        raise InputError(f"{path}: lists no image")
    return list(rows.items())


def read_text(path: Path) -> str:
    """A UTF-8 text file, with or without byte-order mark."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); check dataset.root"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 ({error}); save it as UTF-8") from error


def classes_in_mask(mask: np.ndarray) -> list[int]:
    """The 0-based foreground classes of a (H, W) uint8 mask (0 background, 255 ignore)."""
    return [int(value) - 1 for value in np.unique(mask) if value not in (0, IGNORE)]


def shard_of(image_id: str, shards: int) -> int:
    """The 0-based shard an image belongs to: by its name alone, so other images never move it."""
    return zlib.crc32(image_id.encode()) % shards


def _entry(
    row: tuple[str, list[int] | None], split: str, root: Path, dataset: Dataset, num_classes: int
) -> Entry:
    name, classes = row
    image = root / dataset.images / f"{name}{dataset.image_suffix}"
    mask = root / dataset.masks / f"{name}.png" if dataset.masks else None
    if mask is not None and not mask.is_file():
        mask = None
    if dataset.labels_from == "masks" and split != "test":
        if mask is None:
            raise InputError(f"{name}: labels_from is masks, but it has no mask in {dataset.masks}")
        classes = classes_in_mask(read_label(mask))
        if classes and classes[-1] >= num_classes:
            raise InputError(
                f"{mask}: value {classes[-1] + 1}, but there are {num_classes} classes"
            )
    if split == "train" and not classes:
        raise InputError(f"{name}: a training image without a class; give its classes in the list")
    width, height = read_photo(image).size
    return Entry(
        name, str(image), str(mask) if mask else None, classes, width, height, digest_file(image)
    )
