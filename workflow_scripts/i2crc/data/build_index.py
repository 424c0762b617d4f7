"""Build the index of a split: read its list, decode photographs and masks, collect all problems."""

import difflib
import os
import posixpath
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from i2crc.config.schema import Dataset
from i2crc.data.corrections import correct, read_corrections
from i2crc.data.images import (
    IGNORE,
    photo_size,
    read_label,
    read_photo,
    working_copy,
    write_label,
)
from i2crc.data.index import Entry, Index, Original, collecting
from i2crc.data.label_lists import ListRow, class_names, read_label_list
from i2crc.data.labelled import NEGATIVE
from i2crc.data.listing import Listing
from i2crc.data.photographs import plain_name
from i2crc.data.shapes import draw_mask
from i2crc.runtime.atomic import digest_file, visible_files, write_bytes
from i2crc.runtime.errors import FileError, Problem, counted, listing
from i2crc.runtime.parallel import map_in_order

# Files whose names are searched for the ids of photographs without a mask.
SEARCHED = 10
# The most patterns that a remedy offers.
PATTERNS = 3
BINARY = "if every value but 0 means its photograph's one class: dataset.binary_masks: true"


def build_index(
    split: str,
    root: Path,
    dataset: Dataset,
    folder: Path,
    workers: int,
    listed: Listing | None = None,
) -> Index:
    """Return the index of a split (train, val, dev or test) of a data set, with all its problems.

    Every photograph and mask is decoded. A training image needs known classes. `folder` gets what
    is made: `working` copies of large photographs, and in SPLIT/masks the masks with class values,
    if those of the data set are binary or drawn from annotated objects. `listed` is the data set;
    without it, the lists of the format voc are read.
    """
    if not root.is_dir():
        remedy = "give yours with --config dataset='{root: FOLDER}'"
        missing = Problem(f"dataset.root: {root}", "no such folder", remedy)
        return Index(split, [], [], problems=[missing])
    problems: list[Problem] = []
    warnings: list[str] = []
    classes: list[str] | None = None  # if they are unknown
    similar: dict[str, str] = {}
    if listed:
        problems += listed.problems
        warnings += listed.warnings if split == "train" else []
        classes, rows = listed.classes or None, listed.splits.get(split, [])
        ids = {row.id for some in listed.splits.values() for row in some}
    else:
        with collecting(problems):
            classes = class_names(root, dataset)
        rows, in_list = _read_list(split, root, dataset, classes)
        problems += in_list
        photographs, suffix = root / dataset.images, dataset.image_suffix
        if not photographs.is_dir():
            place, remedy = f"dataset.images: {photographs}", "correct the setting"
            problems.append(Problem(place, "no such folder", remedy))
            return Index(split, classes or [], [], [row.id for row in rows], problems)
        names = os.listdir(photographs)
        ids = {name.removesuffix(suffix) for name in names if name.endswith(suffix)}
        similar = {plain_name(os.path.splitext(name)[0]): name for name in names}
    corrections: dict[str, Any] = {}
    if dataset.corrections and split == "train":
        with collecting(problems):
            path = root / dataset.corrections
            corrections = read_corrections(path)
            rows, wrong = correct(rows, corrections, path, classes, ids, dataset)
            problems += wrong
    # Batches are drawn by number, so the order of the lines must not matter.
    rows = sorted(rows[: dataset.limit], key=lambda row: row.id)
    if dataset.masks and (root / dataset.masks).is_dir():
        with collecting(problems):
            of_split = [row.id for row in rows]
            warnings += _check_mask_names("dataset.masks", root, dataset, ids, of_split)
    if dataset.trusted_masks and split == "train":
        with collecting(problems):
            of_split = [row.id for row in rows]
            warnings += _check_mask_names("dataset.trusted_masks", root, dataset, ids, of_split)
            trusted = root / dataset.trusted_masks
            if not any((trusted / mask_name(dataset.mask_pattern, i)).is_file() for i in of_split):
                problem = "none of its masks is of a training photograph"
                remedy = 'add some that are, or set dataset.trusted_masks: ""'
                raise FileError(f"dataset.trusted_masks: {trusted}", problem, remedy)

    unscored = _without_own_mask(rows, corrections.get("relabel", {}), root, dataset)
    if unscored:
        warnings.append(
            f"{root / dataset.corrections}: the binary masks of {listing(unscored)} are not used, "
            "because their photographs were relabelled to several classes or none"
        )

    def read(row: ListRow) -> Entry | list[Problem]:
        own = dataset.model_copy(update={"masks": ""}) if row.id in unscored else dataset
        return _read_entry(row, split, root, own, folder, classes, similar)

    images: list[Entry] = []
    left_out: list[str] = []
    for row, found in zip(rows, map_in_order(read, rows, workers), strict=True):
        if isinstance(found, Entry):
            images.append(found)
        else:
            left_out.append(row.id)
            problems += found
    if dataset.labels_from == "masks":
        warnings += _warn_of_empty_masks(images, split)
    if split == "train" and classes and images and not any(e.classes for e in images):
        place = str(root / dataset.train_list)
        problem = f"none of the {len(images)} training images has a class, so nothing can be learnt"
        problems.append(Problem(place, problem, "give the classes of some"))
    return Index(split, classes or [], images, left_out, problems, warnings, corrections)


def _read_list(
    split: str, root: Path, dataset: Dataset, classes: list[str] | None
) -> tuple[list[ListRow], list[Problem]]:
    """Return the lines of a split's list (format voc), and its problems."""
    if name := getattr(dataset, f"{split}_list"):
        return read_label_list(root / name, classes)
    remedy = f"name the list of the {split} images"
    return [], [Problem(f"dataset.{split}_list", "is empty", remedy)]


def _without_own_mask(
    rows: list[ListRow], relabelled: Collection[str], root: Path, dataset: Dataset
) -> list[str]:
    """Return the ids of photographs whose binary mask does not say which of its classes it shows.

    Only corrections lead to this: in a list it is a problem.
    """
    if not dataset.binary_masks or not dataset.masks:
        return []
    masks = root / dataset.masks
    doubtful = [r.id for r in rows if r.id in relabelled and len(r.classes or ()) != 1]
    return [i for i in doubtful if (masks / mask_name(dataset.mask_pattern, i)).is_file()]


def mask_name(pattern: str, image_id: str) -> str:
    """Return the name of an image's mask, in the folder below the masks that its id names."""
    folder, name = posixpath.split(image_id)
    return posixpath.join(folder, pattern.replace("{id}", name))


def _check_mask_names(
    setting: str, root: Path, dataset: Dataset, ids: Collection[str], listed: list[str]
) -> list[str]:
    """Return a warning if files in the folder of a setting seem to be masks under other names.

    `ids` are those of all photographs, `listed` those of a split. Raise FileError if there is no
    folder, or no file has the name of a photograph's mask, or if a mask to train on has not.
    """
    folder = root / getattr(dataset, setting.removeprefix("dataset."))
    if not folder.is_dir():
        raise FileError(f"{setting}: {folder}", "no such folder", "correct the setting")
    pattern = dataset.mask_pattern
    fitting = {mask_name(pattern, name) for name in ids}
    names = {
        f"{place}/{name}".removeprefix(f"{folder}/")
        for place, _, files in visible_files(folder)
        for name in files
        if not name.startswith(".")
    }
    others = sorted(names - fitting)
    missing = [name for name in listed if mask_name(pattern, name) not in names]
    near = likely_patterns(*([posixpath.basename(n) for n in some] for some in (others, missing)))
    if not names & fitting:
        problem = f"no file in it has the name of a photograph's mask, {pattern}"
        problem += f"; it holds {listing(others)}" if others else ""
        meant = " or ".join(f'"{one}"' for one in near[:PATTERNS])
        meant = f"set dataset.mask_pattern: {meant}, or " if near else ""
        remedy = f'{meant}rename the masks; to run without them, set {setting}: ""'
        raise FileError(f"{setting}: {folder}", problem, remedy)
    form = PurePath(pattern.replace("{id}", "*")).name
    strays = [name for name in others if PurePath(name).match(form)]
    if strays and setting == "dataset.trusted_masks":
        nearest = difflib.get_close_matches(strays[0], fitting, n=1, cutoff=0.5)
        remedy = f"the nearest name is {nearest[0]}: rename it, or " if nearest else ""
        problem = f"{listing(strays, 3)}: no photograph has a mask of this name"
        raise FileError(f"{setting}: {folder}", problem, f"{remedy}take out what is not needed")
    if not near:
        return []
    return [
        f"{folder}: no mask was found for {listing(missing)}, but {listing(others)} fit no "
        f"photograph; give them the names of the other masks, {pattern}"
    ]


def _warn_of_empty_masks(images: list[Entry], split: str) -> list[str]:
    """Return a warning if image-level labels come from masks, and some show no class."""
    empty = [entry for entry in images if entry.classes == []]
    if not empty:
        return []
    return [
        f"{Path(empty[0].mask or '').parent}: {len(empty)} of {len(images)} masks of {split} show "
        f"no class ({listing([entry.id for entry in empty])}): their photographs count as examples "
        "of background; correct the masks if they show an object"
    ]


def likely_patterns(files: list[str], ids: list[str]) -> list[str]:
    """Return the patterns, with {id}, by which most ids get the name of one of the files."""
    patterns = {
        f"{file[:start]}{{id}}{file[start + len(name) :]}"
        for file in files[:SEARCHED]
        for name in ids
        for start in range(len(file))
        if file.startswith(name, start)
    }
    known = set(files)
    fits = {p: sum(p.replace("{id}", name) in known for name in ids) for p in sorted(patterns)}
    best = max(fits.values(), default=0)
    return [pattern for pattern, count in fits.items() if count == best]


def _read_entry(
    row: ListRow,
    split: str,
    root: Path,
    dataset: Dataset,
    folder: Path,
    classes: list[str] | None,
    similar: dict[str, str],
) -> Entry | list[Problem]:
    """Return the entry of an image, or its problems (none if its line has problems alone).

    `similar` maps the name of each photograph in plain form to the name of its file.
    """
    problems: list[Problem] = []
    image = root / dataset.images / (row.file or f"{row.id}{dataset.image_suffix}")
    mask = root / dataset.masks / mask_name(dataset.mask_pattern, row.id)
    has_mask = bool(dataset.masks) and mask.is_file()
    trusted = root / dataset.trusted_masks / mask_name(dataset.mask_pattern, row.id)
    is_trusted = bool(dataset.trusted_masks) and split == "train" and trusted.is_file()
    from_mask = dataset.labels_from == "masks" and split != "test"
    size = own_size = values = original = None
    with collecting(problems):
        near = similar.get(plain_name(image.stem))
        if near and not image.is_file():
            remedy = f"{near!r} is there: rename it, correct the list, or set dataset.image_suffix"
            raise FileError(image, "missing", remedy)
        size = own_size = photo_size(image, dataset.max_pixels)
        if dataset.max_side and max(size) > dataset.max_side:
            original = Original(str(image), *size, digest_file(image))
            copy = working_copy(read_photo(image, dataset.max_pixels, dataset.max_side))
            image = folder / "working" / f"{row.id}.jpg"
            if not image.is_file() or image.read_bytes() != copy:
                write_bytes(image, copy)
        size = read_photo(image).size
    with collecting(problems):
        if has_mask:
            made = folder / split / "masks" / mask_name(dataset.mask_pattern, row.id)
            mask, values = _read_classes(mask, row, own_size, dataset, classes, made)
        elif row.shapes is not None and own_size:
            mask, has_mask = folder / split / "masks" / f"{row.id}.png", True
            values = _draw_mask(row, own_size, mask)
        elif from_mask:
            problem = "missing, and dataset.labels_from is masks"
            raise FileError(mask, problem, "add it, or take its image out of the list")
    labels = classes_in_mask(np.array(values or [0])) if from_mask else row.classes
    with collecting(problems):
        if is_trusted:
            made = folder / split / "trusted_masks" / f"{row.id}.png"
            trusted, found = _read_classes(trusted, row, own_size, dataset, classes, made)
            _refuse_other_classes(trusted, found, labels, classes)
    are_known = row.usable and classes is not None and not (from_mask and values is None)
    if split == "train" and are_known and labels is None:
        remedy = f"give its classes in the list, or {NEGATIVE} if it shows none of them"
        problem = f"{row.id}: a training image without a class"
        problems.append(Problem(row.place, problem, f"{remedy}, or take it out of the list"))
    if problems or size is None or not row.usable:
        return problems
    if from_mask and classes:  # preflight reports the values beyond them
        labels = [c for c in labels or () if c < len(classes)]
    mask_sha256 = digest_file(mask) if has_mask else None
    path = str(mask) if has_mask else None
    sha256 = digest_file(image)
    entry = Entry(
        row.id, str(image), path, labels, *size, sha256, mask_sha256, values, original=original
    )
    if not is_trusted:
        return entry
    return replace(entry, trusted_mask=str(trusted), trusted_sha256=digest_file(trusted))


def _draw_mask(row: ListRow, size: tuple[int, int], file: Path) -> list[int]:
    """Write the mask of a photograph's annotated objects; return the values in it."""
    if row.size not in (None, size):
        annotated, own = ("x".join(map(str, one)) for one in (row.size, size))
        problem = f"its objects were annotated at {annotated}, but {row.file} has {own} pixels"
        remedy = "use the photographs that were annotated, or export the annotations for these"
        raise FileError(row.place, problem, remedy)
    try:
        label = draw_mask(row.shapes or [], size)
    except (ValueError, TypeError, LookupError) as error:
        problem = f"a segmentation cannot be drawn ({error})"
        remedy = "correct it, or take it out: its photograph then has no mask to score with"
        raise FileError(row.place, problem, remedy) from error
    write_label(file, label)
    return np.unique(label).tolist()


def classes_in_mask(mask: np.ndarray) -> list[int]:
    """Return the sorted 0-based foreground classes of an (H, W) uint8 mask.

    In the mask, 0 is background, n + 1 is class n and 255 is ignored.
    """
    return [int(value) - 1 for value in np.unique(mask) if value not in (0, IGNORE)]


def _read_classes(
    mask: Path,
    row: ListRow,
    size: tuple[int, int] | None,
    dataset: Dataset,
    classes: list[str] | None,
    made: Path,
) -> tuple[Path, list[int]]:
    """Return the mask of an image, and its sorted values; of a binary one, make that of classes.

    `size` is that of the photograph, `made` is where a mask of classes is written.
    """
    label = _read_mask(mask, size, dataset.max_pixels)
    if dataset.binary_masks and row.usable and classes:
        label = _with_class(label, mask, row, classes)
        write_label(made, label)
        mask = made
    return mask, np.unique(label).tolist()


def _refuse_other_classes(
    path: Path, values: list[int], labels: list[int] | None, classes: list[str] | None
) -> None:
    """Raise FileError if a mask to train on shows no class of its photograph, or unknown ones.

    `labels` are these classes; of a photograph without any, the mask must be empty.
    """
    shown = classes_in_mask(np.array(values))
    holds = f"holds {', '.join(map(str, values))}"
    if classes and any(c >= len(classes) for c in shown):
        remedy = f"use 0 for background, 1 to {len(classes)} for classes, 255 for ignored pixels"
        problem = f"{holds}, but there are {counted(len(classes), 'class', 'classes')}"
        raise FileError(path, problem, f"{remedy}, or, {BINARY}")
    if classes is None or labels is None or set(shown) & set(labels) or shown == labels:
        return
    if labels:
        wanted = " or ".join(f"{c + 1} ({classes[c]})" for c in labels)
        remedy = f"save class number + 1 as values, or, {BINARY}"
        raise FileError(path, f"{holds}, but its photograph's classes would be {wanted}", remedy)
    remedy = "correct the labels, or take the mask out"
    raise FileError(path, f"{holds}, but its photograph is listed as one without a class", remedy)


def _read_mask(path: Path, size: tuple[int, int] | None, max_pixels: int) -> np.ndarray:
    """Return a mask; raise FileError unless it has the size of the photograph.

    `size` is the (width, height) of the photograph, None if it cannot be read.
    """
    mask = read_label(path, max_pixels)
    height, width = mask.shape
    if size and size != (width, height):
        problem = "size {}x{}, the photograph has {}x{}".format(width, height, *size)
        raise FileError(path, problem, "give the mask of this photograph, of its size as displayed")
    return mask


def _with_class(label: np.ndarray, path: Path, row: ListRow, classes: list[str]) -> np.ndarray:
    """Return a binary mask with the label of its image's one class.

    Raise FileError if its image has not one class, or if the mask holds the label of that class
    and others already.
    """
    values = [value for value in np.unique(label).tolist() if value]
    if not values:
        return label
    is_set = "but dataset.binary_masks is true"
    found = range(len(classes)) if row.classes is None else row.classes
    if len(found) != 1:
        names = f": {', '.join(classes[c] for c in found)}" if row.classes else ""
        remedy = (
            "give it one class, or take it out of the list, or save all masks with class + 1 as "
            "values and leave the setting out"
        )
        has = "several classes" if row.classes else "no class in the list"
        raise FileError(f"{row.place} (image {row.id!r}{names})", f"{has}, {is_set}", remedy)
    labels = {found[0] + 1} <= {*values} <= {*range(1, len(classes) + 1), IGNORE}
    if len(values) > 1 and labels:
        place = f"{path} (values {listing([*map(str, values)], 5)})"
        raise FileError(place, f"holds classes as values, {is_set}", "leave the setting out")
    return (label != 0) * np.uint8(1 + found[0])
