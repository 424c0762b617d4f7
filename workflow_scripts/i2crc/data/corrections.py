"""Corrections of the training photographs: which are left out, and the classes of others.

The gallery saves them as a file, which `dataset.corrections` names (schema `Corrections`).
"""

import difflib
import json
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from i2crc.artifacts.schemas import Corrections
from i2crc.config.schema import Dataset
from i2crc.data.label_lists import ListRow
from i2crc.runtime.errors import FileError, Problem, counted, listing


def read_corrections(path: Path) -> dict[str, Any]:
    """Return `exclude`, a list of ids, and `relabel`, which maps ids to names of classes.

    Raise FileError if the file is missing, or is no file of corrections.
    """
    remedy = "give the file that the gallery saves, or correct it by docs/DATA.md"
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        found = Corrections.model_validate(content)
    except OSError as error:
        place, remedy = f"dataset.corrections: {path}", "correct the setting, or leave it out"
        raise FileError(place, f"cannot be read ({error.strerror})", remedy) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))[:100]
        problem = f"no file of corrections ({place}: {first['msg'][:200]})"
        raise FileError(path, problem, remedy) from error
    except (ValueError, RecursionError) as error:
        raise FileError(path, f"not valid JSON ({error})", remedy) from error
    return found.model_dump(include={"exclude", "relabel"})


def correct(
    rows: list[ListRow],
    corrections: dict[str, Any],
    path: Path,
    classes: list[str] | None,
    ids: Collection[str],
    dataset: Dataset,
) -> tuple[list[ListRow], list[Problem]]:
    """Return the rows of train with the corrections of a file, and the problems of these.

    `ids` are those of all photographs, of other splits too. With problems, nothing is corrected.
    """
    exclude, relabel = {*corrections["exclude"]}, corrections["relabel"]
    problems = _wrong_ids(exclude, relabel, path, {row.id for row in rows}, ids)
    problems += _wrong_classes(relabel, path, classes) if classes else []
    if relabel and dataset.labels_from == "masks":
        problem = "relabels photographs, but dataset.labels_from is masks"
        problems.append(Problem(str(path), problem, "correct the masks of these, or exclude them"))
    if problems or not classes:
        return rows, problems
    kept = [row for row in rows if row.id not in exclude]
    kept = [_relabelled(row, relabel, classes, path) for row in kept]
    if rows and not kept:
        problem = f"excludes all {counted(len(rows), 'photograph')} of train"
        return rows, [Problem(str(path), problem, "take some out of `exclude`")]
    if empty := [classes[c] for c in sorted(_shown(rows) - _shown(kept))]:
        remedy = "keep one of each, or take the class out of the data set"
        problem = f"leaves no photograph of {listing(empty)} in train"
        return rows, [Problem(str(path), problem, remedy)]
    return kept, []


def _relabelled(
    row: ListRow, relabel: dict[str, list[str]], classes: list[str], path: Path
) -> ListRow:
    """Return the row of a photograph with its corrected classes, if there are any."""
    if row.id not in relabel:
        return row
    numbers = sorted({classes.index(name) for name in relabel[row.id]})
    return replace(row, classes=numbers, place=str(path))


def _shown(rows: list[ListRow]) -> set[int]:
    """Return the classes that photographs have."""
    return {number for row in rows for number in row.classes or ()}


def _wrong_ids(
    exclude: set[str],
    relabel: Collection[str],
    path: Path,
    train: Collection[str],
    ids: Collection[str],
) -> list[Problem]:
    """Return the problems of ids that no photograph of train has, or that are named twice."""
    problems = []
    named = sorted({*exclude, *relabel} - {*train})
    elsewhere = [name for name in named if name in ids]
    unknown = [name for name in named if name not in ids]
    if unknown:
        near = difflib.get_close_matches(unknown[0], train, n=1, cutoff=0.5)
        remedy = f"the nearest to {unknown[0]} is {near[0]}: correct it, or " if near else ""
        remedy += "take out what is no id of a photograph"
        problems.append(Problem(str(path), f"no photograph has the id {listing(unknown)}", remedy))
    if elsewhere:
        problem = f"{listing(elsewhere)}: not in train, but in another split or in none"
        remedy = "take them out: only photographs of train are corrected"
        problems.append(Problem(str(path), problem, remedy))
    if both := sorted(exclude & {*relabel}):
        remedy = "take them out of `exclude` or out of `relabel`"
        problems.append(Problem(str(path), f"{listing(both)}: excluded and relabelled", remedy))
    return problems


def _wrong_classes(relabel: dict[str, list[str]], path: Path, classes: list[str]) -> list[Problem]:
    """Return a problem for each name that is no class."""
    unknown: dict[str, str] = {}
    for name, labels in relabel.items():
        for label in {*labels} - {*classes}:
            unknown.setdefault(label, name)
    problems = []
    for label, name in sorted(unknown.items()):
        near = difflib.get_close_matches(label, classes, n=1, cutoff=0.5)
        remedy = f"the nearest is {near[0]!r}" if near else "a photograph without any class has []"
        problem = f"{label[:50]!r}, as {name} is relabelled, is none of the {len(classes)} classes "
        problems.append(Problem(str(path), f"{problem}({listing(classes)})", remedy))
    return problems
