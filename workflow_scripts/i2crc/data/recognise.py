"""Recognise what a folder of photographs holds: its format, its masks, its saliency maps."""

import os
import posixpath
import re
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from i2crc.config.choices import Choice
from i2crc.config.schema import MOST_CLASSES, Config
from i2crc.data.build_index import likely_patterns, mask_name
from i2crc.data.class_folders import SPLITS, hint, is_split
from i2crc.data.coco import KEYS, read_content
from i2crc.data.images import IGNORE, read_label, read_saliency
from i2crc.data.label_lists import read_text
from i2crc.data.label_tables import read_table
from i2crc.data.labelled import NEGATIVE, means_none
from i2crc.data.photographs import (
    Photographs,
    check_readable,
    find_photographs,
    ids_of,
    without_suffix,
)
from i2crc.runtime.errors import FileError, Problem, counted, listing

# Share of the files of a folder that have the name of a photograph, if they belong to these.
PAIRED = 0.5
# Files whose content is looked at to tell masks from saliency maps.
LOOKED_AT = 20
# Grey values that a saliency map has, at least; the masks of 20 classes have fewer in one picture.
GREY_VALUES = 24
# Names of folders that say nothing of what photographs show.
NO_CLASS = ("images", "image", "img", "imgs", "photos", "photographs", "pictures", "jpegimages")
# Where runs that were started here have written.
RESULTS = Path(Config.model_fields["results"].default)
TABLES = (".csv", ".tsv")
ARCHIVES = (".tar.gz", ".tgz", ".zip")


@dataclass
class Recognised:
    """What a folder is: settings with their reasons, and what is wrong, with the cure."""

    root: Path
    photographs: int = 0
    choices: list[Choice] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    unused: list[Problem] = field(default_factory=list)  # of files that seem to hold labels

    def add(self, key: str, value: object, reason: str) -> None:
        """Add a setting."""
        self.choices.append(Choice(key, value, reason))

    def get(self, key: str) -> object:
        """Return the value of a setting, None if it has none."""
        return next((choice.value for choice in self.choices if choice.key == key), None)


def recognise(root: Path) -> Recognised:
    """Return what a folder is; raise InputError if nothing in it says what photographs show."""
    if not root.is_dir():
        what = "is a file" if root.exists() else "no such folder"
        raise FileError(root, what, "give the folder that your photographs are in")
    check_readable(root)
    found = Recognised(root)
    found.add("dataset.root", _portable(root), "as given to i2crc new")
    hinted = [path for path in _folders(root) if hint(path.name)]
    photographs = find_photographs(root, [*hinted, RESULTS])
    if not photographs.names:  # the classes may be called with_mask and without_mask
        photographs = find_photographs(root, [RESULTS])
    if not photographs.names:
        raise FileError(root, "no photograph in it or below it", "give the folder of photographs")
    found.photographs = len(photographs.names)
    readers = (_voc, _xml, _coco, _table, _xml_beside, _classes)
    is_known = any(read(found, root, photographs) for read in readers)
    unused = [*map(str, found.unused)]
    if not is_known and unused:
        problem = f"{counted(found.photographs, 'photograph')}, but their labels cannot be used"
        raise FileError(root, problem, "correct them:\n  " + "\n  ".join(unused))
    if not is_known:
        raise FileError(
            root,
            f"{counted(found.photographs, 'photograph')}, but nothing says what they show",
            "put those of each class into a folder of its name, or write a table labels.csv with "
            "the columns file and labels",
        )
    found.wrong += unused
    _maps(found, root)
    return found


def _portable(path: Path) -> str:
    """Return a path that a shell and YAML take for nothing else."""
    text = os.path.normpath(path)
    return f"./{text}" if text.startswith(("-", "~")) else text


def _folders(root: Path) -> list[Path]:
    folders = [p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")]
    return sorted(path for path in folders if path.resolve() != RESULTS.resolve())


def _split_of(name: str) -> str:
    """Return the split that a name speaks of: train unless it says another one."""
    words = re.split(r"[^a-z]+", name.lower())
    found = {SPLITS.get(word.removesuffix("set")) for word in words}
    return next((split for split in ("test", "val") if split in found), "train")


def _voc(found: Recognised, root: Path, photographs: Photographs) -> bool:
    """Recognise the layout of VOC: JPEGImages and lists of ids with classes."""
    if not (root / "JPEGImages").is_dir() or not (root / "train_cls.txt").is_file():
        return False
    found.add("dataset.format", "voc", "JPEGImages and train_cls.txt are there")
    if not (root / "val_cls.txt").is_file():
        found.add("dataset.val_list", "", "no val_cls.txt: nothing is validated")
    if not (root / "classes.txt").is_file():
        lines = read_text(root / "train_cls.txt").splitlines()
        words = {word for line in lines for word in line.split()[1:]} - {NEGATIVE}
        names = sorted(word for word in words if not word.isdecimal())
        numbers = words - {*names}
        beyond = [word for word in numbers if len(word) > 3 or int(word) >= MOST_CLASSES]
        if beyond:
            problem = f"class {listing(sorted(beyond))}; there are {MOST_CLASSES} at most, from 0"
            remedy = "correct the numbers, or write names instead"
            raise FileError(root / "train_cls.txt", problem, remedy)
        reason = "the names in train_cls.txt"
        if not names:
            names = [f"class {number}" for number in range(1 + max(map(int, words), default=0))]
            reason = "train_cls.txt has numbers alone"
            found.wrong.append(
                f"{root}/classes.txt: missing, and train_cls.txt has numbers alone, so the "
                f"{len(names)} classes are called class 0, class 1 and so on; write their names "
                "into dataset.classes of the configuration"
            )
        found.add("dataset.classes", names, reason)
    usual = {path.suffix for path in (root / "JPEGImages").iterdir() if path.is_file()}
    if ".jpg" not in usual and len(usual) == 1:
        found.add("dataset.image_suffix", usual.pop(), "the ending of the photographs")
    return True


def _xml(found: Recognised, root: Path, photographs: Photographs) -> bool:
    """Recognise an XML file of annotations for each photograph."""
    if not any((root / "Annotations").glob("*.xml")):
        return False
    found.add("dataset.format", "voc-xml", "the folder Annotations holds XML files")
    for split in ("train", "val"):
        name = f"ImageSets/Main/{split}.txt"
        if (root / name).is_file():
            found.add(f"dataset.{split}_list", name, f"a list of the photographs of {split}")
    if not (root / "JPEGImages").is_dir():
        found.add("dataset.images", _common(photographs), "the photographs are there")
    return True


def _xml_beside(found: Recognised, root: Path, photographs: Photographs) -> bool:
    """Recognise XML files of annotations beside their photographs."""
    stems = {*map(without_suffix, photographs.names)}
    files = [name for name in photographs.others if name.endswith(".xml")]
    files = [name for name in files if name.removesuffix(".xml") in stems]
    if not files or b"<annotation" not in (root / files[0]).read_bytes():
        return False
    base = _common(photographs)
    found.add("dataset.format", "voc-xml", "XML files lie beside the photographs")
    found.add("dataset.images", base, "the photographs are below it")
    lists = _splits(_first_folders(photographs))
    if "train" not in lists:
        found.add("dataset.train_list", base or ".", "the XML files are below it")
        return True
    for split in ("train", "val"):
        if split in lists:
            name = posixpath.join(base, lists[split])
            found.add(f"dataset.{split}_list", name, "the XML files are below it")
    return True


def _coco(found: Recognised, root: Path, photographs: Photographs) -> bool:
    """Recognise a JSON file of annotations as COCO has them, or one in the folder of each split."""
    below = _below(root, photographs)
    splits = _splits(_first_folders(photographs)).values()
    folders = [below.folder / name for name in splits]
    places = dict.fromkeys([root, root / "annotations", below.folder, *folders])
    files = [path for place in places for path in place.glob("*.json")]
    lists: dict[str, Path] = {}
    for path in sorted(files, key=lambda path: (not path.name.startswith("instances"), path)):
        try:
            read_content(path)
        except FileError as error:
            if _speaks_of_objects(path):
                _leave_out(found, [error.problem])
            continue
        _use(found, lists, _split_of(os.path.relpath(path, below.folder)), path, "annotations")
    if "train" not in lists:
        return False
    found.add("dataset.format", "coco", f"{lists['train'].name} has images and annotations")
    _add_lists(found, photographs, lists, "annotations of COCO's form")
    return True


def _speaks_of_objects(file: Path) -> bool:
    """Return whether a JSON file, whole or damaged, has a list of COCO's form."""
    with suppress(OSError):
        content = file.read_bytes()
        return any(f'"{key}"'.encode() in content for key in KEYS)
    return True


def _use(found: Recognised, lists: dict[str, Path], split: str, path: Path, kind: str) -> None:
    """Use a file as the list of a split, or take down that another one already is."""
    if split in lists:
        problem = f"{lists[split].name} is used, too, as the {kind} of {split}"
        remedy = "put all into one file, or delete the other"
        _leave_out(found, [Problem(str(path), problem, remedy)])
    else:
        lists[split] = path


def _leave_out(found: Recognised, problems: list[Problem]) -> None:
    """Take down why a file is not used, by the first of its problems."""
    first = problems[0]
    more = f" (and {counted(len(problems) - 1, 'more problem')})" if len(problems) > 1 else ""
    found.unused.append(replace(first, problem=f"not used: {first.problem}{more}"))


def _below(root: Path, photographs: Photographs) -> Photographs:
    """Return the photographs with their names below the folder that all of them are in."""
    return find_photographs(root / _common(photographs), photographs.outside)


def _table(found: Recognised, root: Path, photographs: Photographs) -> bool:
    """Recognise a table of photographs and their labels."""
    below = _below(root, photographs)
    files = [path for place in dict.fromkeys([root, below.folder]) for path in place.iterdir()]
    lists: dict[str, Path] = {}
    for path in sorted(files, key=lambda path: (path.stem != "labels", path)):
        if path.suffix.lower() in TABLES and path.is_file():
            labels = read_table(path, below, [])
            split = _split_of(path.stem)
            if len(labels.photographs) <= len(labels.problems):
                _leave_out(found, labels.problems)
            else:
                _use(found, lists, split, path, "table")
    if "train" not in lists:
        return False
    found.add("dataset.format", "csv", f"{lists['train'].name} names the photographs")
    _add_lists(found, photographs, lists, "it names the photographs")
    return True


def _add_lists(
    found: Recognised, photographs: Photographs, lists: dict[str, Path], reason: str
) -> None:
    """Add the folder of the photographs, and the file of each split that says what they show."""
    found.add("dataset.images", _common(photographs), "the photographs are below it")
    for split in ("train", "val"):
        if split in lists:
            name = lists[split].relative_to(found.root).as_posix()
            found.add(f"dataset.{split}_list", name, reason)


def _classes(found: Recognised, root: Path, photographs: Photographs) -> bool:
    """Recognise a folder for each class."""
    base = _common(photographs)
    first = _first_folders(photographs)
    if not first:
        # All photographs are in one folder: they are of one class.
        base, _, last = base.rpartition("/")
        if not last or last.lower() in NO_CLASS:
            return False
        first = [last]
    found.add("dataset.format", "folders", f"{counted(len(first), 'folder')} with photographs")
    found.add("dataset.images", base, "the folders are in it" if base else "root itself")
    lists = _splits(first)
    for split in ("train", "val"):
        if split in lists:
            found.add(f"dataset.{split}_list", lists[split], "its folders are the classes")
    return True


def _first_folders(photographs: Photographs) -> list[str]:
    """Return the folders with photographs that are in the folder of all of them."""
    beginning = f"{_common(photographs)}/"
    names = [name.removeprefix(beginning) for name in photographs.names]
    return sorted({name.partition("/")[0] for name in names if "/" in name})


def _splits(folders: list[str]) -> dict[str, str]:
    """Return split -> folder if these are folders of splits, with or without one of negatives."""
    if not all(is_split(name) or means_none(name) for name in folders):
        return {}
    splits = [name for name in folders if is_split(name)]
    # The last one counts: val comes after dev and eval.
    return {_split_of(name): name for name in sorted(splits, key=str.casefold)}


def _common(photographs: Photographs) -> str:
    """Return the folder that all photographs are below, "" for the root."""
    folders = {posixpath.dirname(name) for name in photographs.names}
    return "" if "" in folders else posixpath.commonpath(folders)


def _maps(found: Recognised, root: Path) -> None:
    """Find the folders with the masks and with the saliency maps of the photographs."""
    images = found.get("dataset.images")
    base = "JPEGImages" if images is None else str(images)
    siblings = [path for path in _folders(root.resolve().parent) if hint(path.name)]
    near = [*_folders(root), *(path for path in siblings if path != root.resolve())]
    candidates = [path for path in near if path.name != base.partition("/")[0]]
    inside = {root / base / path.name for path in _folders(root / base)} if base else set()
    candidates += [path for path in sorted(inside) if hint(path.name)]
    hinted = [path for path in candidates if hint(path.name)]
    below = find_photographs(root / base, [*hinted, RESULTS])
    ids = list(ids_of(below.names).values())
    for folder in candidates:
        kind, pattern, masks = _kind(folder, ids)
        name = os.path.relpath(folder, root.resolve() if folder in siblings else root)
        if kind == "masks" and not found.get("dataset.masks"):
            found.add("dataset.masks", name, f"{masks} files with the names of photographs")
            if pattern != "{id}.png":
                found.add("dataset.mask_pattern", pattern, f"the names of the files in {name}")
        elif kind == "saliency" and not found.get("saliency.location"):
            place = os.path.join(_portable(root), name)
            found.add("saliency.location", _portable(Path(place)), f"{masks} maps")
        elif folder in hinted and folder not in siblings:
            _warn_of_names(found, folder, ids)
    archives = [path for path in sorted(root.glob("saliency*")) if path.name.endswith(ARCHIVES)]
    if archives and not found.get("saliency.location"):
        found.add("saliency.location", _portable(archives[0]), "an archive of maps, by its name")
    if images is None and not found.get("dataset.masks"):
        found.add("dataset.masks", "", "no masks of these photographs are there")


def _kind(folder: Path, ids: list[str]) -> tuple[str, str, int]:
    """Return what a folder holds ("" if nothing for the photographs), its pattern, how many."""
    names = {*find_photographs(folder).names}
    bases = [posixpath.basename(name) for name in sorted(names)]
    pattern = "{id}.png"
    if not any(mask_name(pattern, name) in names for name in ids):
        near = likely_patterns(bases, [posixpath.basename(name) for name in ids])
        pattern = next(iter(near), pattern)
    paired = [folder / mask_name(pattern, i) for i in ids if mask_name(pattern, i) in names]
    if not paired or len(paired) < PAIRED * len(names):
        return "", pattern, 0
    kind = hint(folder.name) or _kind_of_content(paired[:: max(1, len(paired) // LOOKED_AT)])
    return kind, pattern, len(paired)


def _kind_of_content(files: list[Path]) -> str:
    """Return whether files are masks or saliency maps; "" if they are neither."""
    grey = 0
    for path in files:
        try:
            values = {value for _, value in read_saliency(path).getcolors() or ()}
            grey += len(values) >= GREY_VALUES
        except FileError:
            try:
                read_label(path)
            except FileError:
                return ""
    return "saliency" if 2 * grey > len(files) else "masks"


def _warn_of_names(found: Recognised, folder: Path, ids: list[str]) -> None:
    """Say that a folder seems to hold masks or maps, but not of these photographs."""
    kind = "saliency maps" if hint(folder.name) == "saliency" else "masks"
    files = find_photographs(folder).names
    pictures = [folder / name for name in files]
    if files and ids and _kind_of_content(pictures[:: max(1, len(pictures) // LOOKED_AT)]):
        found.wrong.append(
            f"{folder}: seems to hold {kind}, but its files ({listing(files[:3])}) do not have the "
            f"names of photographs; rename them like {mask_name('{id}.png', ids[0])}, or move the "
            "folder elsewhere (its pictures count as photographs otherwise)"
        )


def binary_values(files: list[Path], classes: int) -> list[int]:
    """Return the values of masks if they only say where an object is, not which; else [].

    Such masks have one value beside 0, which is 255 or no class.
    """
    values: set[int] = set()
    for path in files:
        with suppress(FileError):  # prepare_data reports it
            found = set(np.unique(read_label(path)).tolist())
            if len(found - {0}) > 1:
                return []
            values |= found
    objects = values - {0}
    is_foreign = all(value == IGNORE or value > classes for value in objects)
    return sorted(values) if objects and is_foreign else []
