"""Build the index of a split: read its list, decode photographs and masks, collect all problems."""

import unicodedata
from pathlib import Path

import numpy as np

from i2crc.config.schema import Dataset, problem_of_classes
from i2crc.data.images import IGNORE, read_label, read_photo, write_label
from i2crc.data.index import Entry, Index, collecting
from i2crc.data.label_lists import ListRow, read_label_list, read_text
from i2crc.runtime.atomic import digest_file
from i2crc.runtime.errors import FileError, Problem, listing
from i2crc.runtime.parallel import map_in_order

# Files whose names are searched for the ids of photographs without a mask.
SEARCHED = 10
# The most patterns that a remedy offers.
PATTERNS = 3


def class_names(root: Path, dataset: Dataset) -> list[str]:
    """Return the foreground classes: those of the settings, else the lines of root/classes.txt.

    Raise FileError if there are none, more than 254, or if a name is wrong.
    """
    if dataset.classes:
        return dataset.classes
    file = root / "classes.txt"
    if not file.is_file():
        raise FileError(file, "missing", "write it, a class a line, or set dataset.classes")
    names = [line.strip() for line in read_text(file).splitlines() if line.strip()]
    if not names:
        raise FileError(file, "has no class", "write one a line")
    if problem := problem_of_classes(names):
        raise FileError(file, *problem)
    return names


def build_index(split: str, root: Path, dataset: Dataset, converted: Path, workers: int) -> Index:
    """Return the index of a split ("train", "val" or "test") of a data set, with all its problems.

    Every photograph and mask is decoded. A training image needs at least one class. The folder
    `converted` gets the masks with class values, if those of the data set are binary.
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
    photographs = [path.name for path in folder.iterdir()]
    similar = {_plain(Path(name).stem): name for name in photographs}
    warnings: list[str] = []
    if dataset.masks and (root / dataset.masks).is_dir():
        with collecting(problems):
            listed = [row.id for row in rows]
            warnings = _check_mask_names(root / dataset.masks, dataset, photographs, listed)

    def read(row: ListRow) -> Entry | list[Problem]:
        return _read_entry(row, split, root, dataset, converted, classes, similar)

    images: list[Entry] = []
    left_out: list[str] = []
    for row, found in zip(rows, map_in_order(read, rows, workers), strict=True):
        if isinstance(found, Entry):
            images.append(found)
        else:
            left_out.append(row.id)
            problems += found
    return Index(split, classes or [], images, left_out, problems, warnings)


def _check_mask_names(
    folder: Path, dataset: Dataset, photographs: list[str], listed: list[str]
) -> list[str]:
    """Return a warning if files in the mask folder seem to be masks under other names.

    `photographs` are the names of all photographs, `listed` the ids of a split. Raise FileError if
    no file has the name of a photograph's mask.
    """
    pattern, suffix = dataset.mask_pattern, dataset.image_suffix
    ids = (name.removesuffix(suffix) for name in photographs if name.endswith(suffix))
    fitting = {pattern.replace("{id}", name) for name in ids}
    names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    others = sorted(names - fitting)
    missing = [name for name in listed if pattern.replace("{id}", name) not in names]
    near = _likely_patterns(others, missing)
    if not names & fitting:
        problem = f"no file in it has the name of a photograph's mask, {pattern}"
        problem += f"; it holds {listing(others)}" if others else ""
        meant = " or ".join(f'"{one}"' for one in near[:PATTERNS])
        meant = f"set dataset.mask_pattern: {meant}, or " if near else ""
        remedy = f'{meant}rename the masks; to run without scores, set dataset.masks: ""'
        raise FileError(f"dataset.masks: {folder}", problem, remedy)
    if not near:
        return []
    return [
        f"{folder}: no mask was found for {listing(missing)}, but {listing(others)} fit no "
        f"photograph; give them the names of the other masks, {pattern}"
    ]


def _likely_patterns(files: list[str], ids: list[str]) -> list[str]:
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
    converted: Path,
    classes: list[str] | None,
    similar: dict[str, str],
) -> Entry | list[Problem]:
    """Return the entry of an image, or its problems (none if its line has problems alone).

    `similar` maps the name of each photograph in plain form to the name of its file.
    """
    problems: list[Problem] = []
    image = root / dataset.images / f"{row.id}{dataset.image_suffix}"
    mask = root / dataset.masks / dataset.mask_pattern.replace("{id}", row.id)
    has_mask = bool(dataset.masks) and mask.is_file()
    from_mask = dataset.labels_from == "masks" and split != "test"
    size = values = None
    with collecting(problems):
        near = similar.get(_plain(image.stem))
        if near and not image.is_file():
            remedy = f"{near!r} is there: rename it, correct the list, or set dataset.image_suffix"
            raise FileError(image, "missing", remedy)
        size = read_photo(image, dataset.max_pixels).size
    with collecting(problems):
        if has_mask:
            label = _read_mask(mask, size, dataset.max_pixels)
            if dataset.binary_masks and row.usable and classes:
                label = _with_class(label, mask, row, classes)
                mask = converted / mask.name
                write_label(mask, label)
            values = np.unique(label).tolist()
        elif from_mask:
            problem = "missing, and dataset.labels_from is masks"
            raise FileError(mask, problem, "add it, or take its image out of the list")
    labels = classes_in_mask(np.array(values or [0])) if from_mask else row.classes
    are_known = row.usable and classes is not None and not (from_mask and values is None)
    if split == "train" and are_known and not labels:
        remedy = "correct its mask" if from_mask else "give its classes in the list"
        problem = f"{row.id}: a training image without a class"
        problems.append(Problem(row.place, problem, f"{remedy}, or take it out of the list"))
    if problems or size is None or not row.usable:
        return problems
    if from_mask and classes:  # preflight reports the values beyond them
        labels = [c for c in labels or () if c < len(classes)]
    mask_sha256 = digest_file(mask) if has_mask else None
    path = str(mask) if has_mask else None
    return Entry(row.id, str(image), path, labels, *size, digest_file(image), mask_sha256, values)


def classes_in_mask(mask: np.ndarray) -> list[int]:
    """Return the sorted 0-based foreground classes of an (H, W) uint8 mask.

    In the mask, 0 is background, n + 1 is class n and 255 is ignored.
    """
    return [int(value) - 1 for value in np.unique(mask) if value not in (0, IGNORE)]


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
    is_set = "but dataset.binary_masks is true"
    found = row.classes or range(len(classes))
    if values and len(found) != 1:
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


def _plain(name: str) -> str:
    """Return a name without differences that people do not see."""
    return unicodedata.normalize("NFKC", name).casefold().strip()
