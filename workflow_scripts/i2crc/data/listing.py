"""List a data set of any format: its photographs with their ids and classes, by split.

No photograph is decoded. The format `voc` is read split by split, in label_lists.py.
"""

import difflib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from i2crc.artifacts.schemas import damaged
from i2crc.config.schema import Dataset, problem_of_classes
from i2crc.data.class_folders import read_folders
from i2crc.data.coco import read_coco
from i2crc.data.index import collecting
from i2crc.data.label_lists import CONTRADICTION, ListRow, class_names, read_label_list, wrong_name
from i2crc.data.label_tables import read_table
from i2crc.data.labelled import Labelled, Labels, means_none
from i2crc.data.photographs import Photographs, find_photographs, ids_of
from i2crc.data.voc_xml import read_annotations
from i2crc.runtime.atomic import read_json
from i2crc.runtime.errors import FileError, Problem, counted, listing

# Format -> what reads the labels of a split: from a file or folder, the photographs that there are,
# and the classes that the settings or classes.txt name.
READERS: dict[str, Callable[[Path, Photographs, list[str]], Labels]] = {
    "folders": read_folders,
    "csv": read_table,
    "coco": read_coco,
    "voc-xml": read_annotations,
}
# Annotations know many classes, of which dataset.classes may choose some.
CHOOSES = ("coco", "voc-xml")


@dataclass(frozen=True)
class Listing:
    """The photographs of a data set by split, its foreground class names, and what is wrong.

    If val is to be drawn, its photographs are still in train.
    """

    classes: list[str] = field(default_factory=list)
    splits: dict[str, list[ListRow]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def list_dataset(root: Path, dataset: Dataset, outside: Sequence[Path] = ()) -> Listing:
    """Return the photographs of a data set, with all problems that can be seen without decoding.

    Folders `outside`, such as those of saliency maps or results, hold no photographs.
    """
    listed = Listing()
    with collecting(listed.problems):
        if not root.is_dir():
            remedy = "give yours with --config dataset='{root: FOLDER}'"
            raise FileError(f"dataset.root: {root}", "no such folder", remedy)
        if dataset.format == "voc":
            _list_voc(listed, root, dataset)
        else:
            _list_photographs(listed, root, dataset, outside)
    return listed


def read_listing(path: Path) -> Listing:
    """Return the listing in a file; raise InputError if the file is missing or damaged."""
    content = read_json(path)
    try:
        return TypeAdapter(Listing).validate_python(content)
    except ValidationError as error:
        raise damaged(path, error) from None


def _list_voc(listed: Listing, root: Path, dataset: Dataset) -> None:
    listed.classes.extend(class_names(root, dataset))
    for split in dataset.splits:
        rows, problems = read_label_list(root / getattr(dataset, f"{split}_list"), listed.classes)
        listed.splits[split] = rows
        listed.problems.extend(problems)


def _list_photographs(
    listed: Listing, root: Path, dataset: Dataset, outside: Sequence[Path]
) -> None:
    folder = root / dataset.images
    masks = [root / name for name in (dataset.masks, dataset.trusted_masks) if name]
    photographs = find_photographs(folder, [*masks, root / "saliency", *outside])
    if not photographs.names:
        remedy = "correct dataset.root or dataset.images"
        raise FileError(folder, "no photograph in it or below it", remedy)
    lists = [root / getattr(dataset, f"{split}_list") for split in dataset.splits]
    read_too = [root / "classes.txt", root / dataset.corrections]
    listed.warnings.extend(photographs.ignored([*lists, *read_too]))
    found: dict[str, Labels] = {}
    read = READERS[dataset.format]
    known: list[str] = []
    with suppress(FileError):  # _class_names reports it
        known = class_names(root, dataset)
    for split in dataset.splits:
        name = getattr(dataset, f"{split}_list")
        if name or split == "train":
            place = folder if dataset.format == "folders" else root
            with collecting(listed.problems):
                found[split] = read(place / name, photographs, known)
    for labels in found.values():
        listed.problems.extend(labels.problems)
        listed.warnings.extend(labels.warnings)
    # The test server's images have no classes.
    labelled = [labels for split, labels in found.items() if split != "test"]
    names = _class_names(root, dataset, labelled)
    listed.classes.extend(names)
    listed.warnings.extend(_alike(names))
    others = {name for labels in labelled for name in labels.classes} - {*names}
    if others and not dataset.classes:
        listed.warnings.append(
            f"{root}: {listing(sorted(others))}: no class, because no photograph shows it or "
            "classes.txt does not name it"
        )
    if dataset.format in CHOOSES:
        listed.problems.extend(_absent(labelled, dataset.classes))
    used = dict.fromkeys(name for labels in found.values() for name in labels.photographs)
    unused = [name for name in photographs.names if name not in used]
    given = [getattr(dataset, f"{split}_list") for split in found]
    remedy = ""
    if dataset.format == "folders":  # read_folders names those in the folders of the splits
        places = [folder / name for name in given]
        unused = [n for n in unused if not any((folder / n).is_relative_to(p) for p in places)]
        train = dataset.train_list
        remedy = f"; to train on them, move them into {train}, negatives into {train}/_none"
        if not dataset.val_list:
            remedy += "; to validate with them, name their folder in dataset.val_list"
    if unused and used:
        listed.warnings.append(
            f"{folder}: {counted(len(unused), 'photograph')} not in {' and '.join(given)} left out "
            f"({listing(unused)}){remedy}"
        )
    ids = ids_of(used)
    for split, labels in found.items():
        if split != "test":
            listed.problems.extend(_unknown(labels, names, dataset))
        rows = []
        for name, one in labels.photographs.items():
            wrong = [wrong_name(one.place, part, None) for part in ids[name].split("/")]
            listed.problems.extend(problem for problem in wrong if problem)
            rows.append(_row(ids[name], name, one, names, split))
        listed.splits[split] = rows


def _row(id: str, name: str, one: Labelled, classes: list[str], split: str) -> ListRow:
    """Return the row of a photograph."""
    numbers = sorted(classes.index(label) for label in one.labels & {*classes})
    values = {label: number + 1 for number, label in enumerate(classes)}
    shapes = None
    if one.shapes is not None:
        known = [shape for shape in one.shapes if shape["label"] in values]
        shapes = [{"value": values[shape["label"]], **shape} for shape in known]
    found = None if split == "test" else numbers
    return ListRow(id, found, one.place, True, name, shapes, one.size)


def _class_names(root: Path, dataset: Dataset, found: list[Labels]) -> list[str]:
    """Return the foreground classes: those given, else those that photographs have."""
    if dataset.classes or (root / "classes.txt").is_file():
        return class_names(root, dataset)
    shown = _shown(found)
    in_order = dict.fromkeys(name for labels in found for name in labels.classes)
    names = [name for name in in_order if name in shown]
    if not names:
        if any(labels.problems for labels in found):
            return []  # the cause is reported
        remedy = "give photographs the names of their classes"
        raise FileError(root / dataset.train_list, "no photograph has a class", remedy)
    if problem := problem_of_classes(names):
        raise FileError(f"dataset.root: {root}", *problem)
    return names


def _shown(found: list[Labels]) -> set[str]:
    """Return the names of the classes that photographs have."""
    return {name for labels in found for one in labels.photographs.values() for name in one.labels}


def _absent(found: list[Labels], chosen: list[str]) -> list[Problem]:
    """Return the problem of chosen classes that no object has."""
    names = sorted(_shown(found))
    absent = [name for name in chosen if name not in names]
    if not absent or not names:
        return []
    problem = f"no object is called {listing(absent)}; there are {listing(names)}"
    return [Problem("dataset.classes", problem, "correct the names")]


def _alike(names: list[str]) -> list[str]:
    """Return warnings of class names that differ in capitals alone."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name.casefold(), []).append(name)
    return [
        f"the classes {listing(alike)} differ in capitals alone: write them alike if they are one"
        for alike in groups.values()
        if len(alike) > 1
    ]


def _unknown(labels: Labels, classes: list[str], dataset: Dataset) -> list[Problem]:
    """Return the problems of labels that are no class, and of contradictions."""
    problems: list[Problem] = []
    unknown: dict[str, list[str]] = {}
    for one in labels.photographs.values():
        if any(map(means_none, one.labels)) and not all(map(means_none, one.labels)):
            problems.append(Problem(one.place, *CONTRADICTION))
        for label in sorted(one.labels - {*classes}):
            if not means_none(label):
                unknown.setdefault(label, []).append(one.place)
    for label, places in unknown.items() if dataset.format not in CHOOSES else ():
        near = difflib.get_close_matches(label, classes, n=1, cutoff=0.5)
        more = f" (and {len(places) - 1} more)" if len(places) > 1 else ""
        remedy = f"the nearest is {near[0]!r}: correct it, or " if near else ""
        remedy += "add it to the names of the classes (dataset.classes, or classes.txt)"
        problem = f"{label[:50]!r} is none of the {len(classes)} classes ({listing(classes)})"
        problems.append(Problem(f"{places[0]}{more}", problem, remedy))
    return problems
