"""The format `folders`: one folder for each class, with its photographs at any depth."""

import os
import posixpath
import re
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

from i2crc.config.schema import composed
from i2crc.data.images import mask_size, photo_size
from i2crc.data.labelled import Labelled, Labels, means_none
from i2crc.data.photographs import Photographs, without_suffix
from i2crc.runtime.atomic import digest_file
from i2crc.runtime.errors import FileError, Problem, counted, listing

# Word for a split -> the split. A word may have `set` behind it.
SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
SPLITS |= dict.fromkeys(("val", "valid", "validation", "dev", "eval"), "val")
SPLIT_NAME = re.compile(rf"({'|'.join(SPLITS)})([ _-]?set)?", re.IGNORECASE)
MASK_WORDS = re.compile(r"mask|segm|truth|(^|[_-])gt($|[_-])|labels?$|annot", re.IGNORECASE)
SALIENCY_WORDS = re.compile(r"salien|(^|[_-])sal($|[_-])", re.IGNORECASE)


def read_folders(folder: Path, photographs: Photographs, known: list[str]) -> Labels:
    """Return the photographs below a folder; those below a folder `_none` have no class.

    Names of splits are no classes unless they are `known`. Masks beside their photographs are left
    out.

    A photograph that is in the folders of several classes has all of them.
    """
    labels = Labels()
    if not folder.is_dir():
        remedy = "correct dataset.train_list or dataset.val_list: a folder of class folders"
        labels.problems.append(Problem(str(folder), "no such folder", remedy))
        return labels
    below = os.path.relpath(folder, photographs.folder)
    if below.split(os.sep)[0] == os.pardir:
        remedy = "set dataset.images to a folder that holds both"
        labels.problems.append(
            Problem(str(folder), f"is not below the photographs, {photographs.folder}", remedy)
        )
        return labels
    outside: list[str] = []
    nested: set[str] = set()
    beginning = "" if below == "." else f"{below}/"
    names = [name for name in photographs.names if name.startswith(beginning)]
    masks = _masks_among(photographs.folder, names, beginning)
    for name in names:
        if name not in masks:
            first, _, rest = name.removeprefix(beginning).partition("/")
            if rest:
                label = composed(first.strip())
                place = str(photographs.folder / name)
                labels.photographs[name] = Labelled({label}, place)
                nested |= {label} if "/" in rest else set()
            else:
                outside.append(name)
    found = {label for one in labels.photographs.values() for label in one.labels}
    labels.classes = sorted(label for label in found if not means_none(label))
    splits = [label for label in labels.classes if is_split(label) and label not in known]
    if splits and splits == labels.classes:
        problem = f"its folders are called {listing(splits)}, which are splits, not classes"
        remedy = "name them in dataset.train_list and dataset.val_list, or in dataset.classes if "
        labels.problems.append(Problem(str(folder), problem, f"{remedy}they are classes"))
    elif not labels.classes:
        problem = "has no folder of a class with photographs in it"
        remedy = "put the photographs of each class into a folder of the class's name"
        labels.problems.append(Problem(str(folder), problem, remedy))
    elif {label.casefold() for label in splits} - {"train"} or nested & {*splits}:
        # Else the folder `train` may show trains.
        labels.warnings.append(
            f"{folder}: folders with the names of splits count as classes ({listing(splits)}): if "
            "they are splits, name them in dataset.train_list and dataset.val_list, else name all "
            "classes in dataset.classes"
        )
    if outside:
        labels.warnings.append(
            f"{folder}: {counted(len(outside), 'photograph')} in the folder of no class "
            f"({listing(outside)}) left out; negatives belong into a folder _none"
        )
    if masks:
        labels.warnings.append(
            f"{folder}: {counted(len(masks), 'file')} in class folders left out, because each is "
            "grey or has few colours, and has the name and the size of a photograph "
            f"({listing(sorted(masks), 3)}): if they are masks, move them into a folder beside the "
            "class folders, as masks/CLASS/NAME.png, to score with them, else delete them"
        )
    empty = [f.name for f in folder.iterdir() if f.is_dir() and not f.name.startswith(".")]
    empty = [name for name in empty if composed(name.strip()) not in found]
    made = [folder / name.removeprefix(beginning).partition("/")[0] for name in photographs.made]
    in_use = {os.path.abspath(path) for path in (*photographs.outside, *made)}
    empty = sorted(name for name in empty if os.path.abspath(folder / name) not in in_use)
    if empty:
        labels.warnings.append(f"{folder}: no photograph in {listing(empty)}: no class")
    labels.warnings += _no_photographs(labels, folder)
    _join_equal(labels, photographs.folder)
    return labels


def is_split(name: str) -> bool:
    """Return whether a folder has the name of a split."""
    return SPLIT_NAME.fullmatch(name) is not None


def hint(name: str) -> str:
    """Return what the name of a folder says that it holds: "saliency", "masks" or ""."""
    if SALIENCY_WORDS.search(name):
        return "saliency"
    return "masks" if MASK_WORDS.search(name) else ""


def _masks_among(folder: Path, names: list[str], beginning: str) -> set[str]:
    """Return the files that are masks of photographs in the same class folder.

    They have the form of a mask, and the size and name of a photograph. A word such as `mask`, in
    the name or as the name of a folder, does not count.
    """
    same = defaultdict(list)
    for name in names:
        *folders, base = name.removeprefix(beginning).split("/")
        words = re.split("[ ._-]+", without_suffix(base))
        words = [word for word in words if not hint(word)] or words
        inner = [part for part in folders[1:] if not hint(part)]
        same[*folders[:1], *inner, *words].append(name)
    masks = set()
    for alike in same.values():
        if len(alike) > 1:
            sizes = {name: mask_size(folder / name) for name in alike}
            photographs = set()
            for name in alike:
                with suppress(FileError):  # prepare_data reports it
                    photographs |= set() if sizes[name] else {photo_size(folder / name)}
            masks |= {name for name, size in sizes.items() if size in photographs}
    return masks


def _no_photographs(labels: Labels, folder: Path) -> list[str]:
    """Return warnings of classes that are masks or saliency maps by their names."""
    files = defaultdict(list)
    for name, one in labels.photographs.items():
        files[next(iter(one.labels))].append(posixpath.basename(name))
    photographs = {without_suffix(n) for label in files if not hint(label) for n in files[label]}
    warnings = []
    for label in filter(hint, files):
        maps = {without_suffix(name) for name in files[label] if name.lower().endswith(".png")}
        if 2 * len(maps & photographs) > len(files[label]):
            kind, key = "masks", "dataset.masks"
            if hint(label) == "saliency":
                kind, key = "saliency maps", "saliency.location"
            warnings.append(
                f"{folder / label}: counts as a class, but its files have the names of "
                f"photographs ({listing(sorted(maps & photographs))}): if they are {kind}, name "
                f"the folder in {key}"
            )
    return warnings


def _join_equal(labels: Labels, folder: Path) -> None:
    """Give a photograph that is in the folders of several classes all of them; keep one copy."""
    sizes = defaultdict(list)
    for name in labels.photographs:
        if (folder / name).is_file():  # a link may lead nowhere
            sizes[(folder / name).stat().st_size].append(name)
    contents = defaultdict(list)
    for names in sizes.values():
        for name in names if len(names) > 1 else ():
            contents[digest_file(folder / name)].append(name)
    joined = []
    for names in contents.values():
        found = set().union(*(labels.photographs[name].labels for name in names))
        if len(found) == 1:
            continue
        if any(map(means_none, found)):
            same = " = ".join(names)
            problem = "the same photograph as one of a class, but among those without a class"
            labels.problems.append(Problem(f"{folder}: {same}", problem, "delete one of them"))
            continue
        joined.append(" = ".join(names))
        labels.photographs[names[0]].labels |= found
        for name in names[1:]:
            del labels.photographs[name]
    if joined:
        labels.warnings.append(
            f"{folder}: {counted(len(joined), 'photograph')} in the folders of several classes "
            f"({listing(joined)}): each counts once, with all of these classes"
        )
