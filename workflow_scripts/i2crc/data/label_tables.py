"""The format `csv`: a table with a column of photographs and a column of labels.

A photograph may have several labels in a cell or in several rows; without any it is a negative.
"""

import csv
import io
import re
from pathlib import Path

from i2crc.config.schema import composed
from i2crc.data.index import collecting
from i2crc.data.label_lists import read_text
from i2crc.data.labelled import Labelled, Labels, means_none
from i2crc.data.photographs import Photographs, without_suffix
from i2crc.runtime.errors import FileError, Problem, listing

SEPARATORS = ",;\t|"
# Names of the columns, without regard to capitals.
FILE_COLUMN = re.compile(r"(file|image|img|photo|photograph|picture)s?([ _-]?(name|path|id))?|path")
LABEL_COLUMN = re.compile(r"(labels?|class(es)?|categor(y|ies)|tags?)([ _-]?(names?|\d+))?")
NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?")
HEADING = " (if the line is a heading, call its columns file and labels)"
# Rows by which separator and columns are recognised.
TRIED = 200

Row = tuple[int, list[str]]


def read_table(file: Path, photographs: Photographs, known: list[str]) -> Labels:
    """Return the photographs of a table. A cell that is one of the `known` classes is not split."""
    labels = Labels()
    with collecting(labels.problems):
        text = read_text(file)
        wrong: list[Problem] = []
        tried: list[list[Row]] = []
        for separator in SEPARATORS:
            with collecting(wrong):
                tried.append(_rows(file, text, separator))
        rows = max(
            tried or [[]],
            key=lambda rows: (max(_hits(rows, photographs), default=0), _columns_of_all(rows)),
        )
        if wrong and _columns_of_all(rows) < 2 and not any(_hits(rows, photographs)):
            labels.problems.append(wrong[0])
            return labels
        if not rows:
            raise FileError(file, "has no row", "write a row for each photograph: file,labels")
        with collecting(labels.problems):
            _refuse_several(file, *rows[0])
        column, of_labels, rows = _columns(file, rows, photographs, known)
        for line, row in rows:
            with collecting(labels.problems):
                cell = row[column] if column < len(row) else ""
                advice = HEADING if line == 1 else ""
                name = photographs.find(cell, f"{file}:{line}", advice)
                cells = [cell for n, cell in enumerate(row) if n in of_labels]
                one = labels.photographs.setdefault(name, Labelled(set(), f"{file}:{line}"))
                one.labels.update(label for cell in cells for label in _labels_in(cell, known))
    found = {label for one in labels.photographs.values() for label in one.labels}
    labels.classes = sorted(label for label in found if not means_none(label))
    return labels


def _rows(file: Path, text: str, separator: str) -> list[Row]:
    """Return number and fields of each line that is not blank; raise FileError for wrong quotes."""
    # newline="": a name may contain characters at which splitlines() would split.
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)
    try:
        rows = ((reader.line_num, [field.strip() for field in row]) for row in reader)
        return [(line, row) for line, row in rows if any(row)]
    except csv.Error as error:
        place = f"{file}:{reader.line_num}"
        raise FileError(place, f"no line of CSV ({error})", "correct its quotes") from error


def _columns_of_all(rows: list[Row]) -> int:
    """Return the number of columns that all of the first rows have."""
    return min((len(row) for _, row in rows[:TRIED]), default=0)


def _hits(rows: list[Row], photographs: Photographs) -> list[int]:
    """Return for each column how many of the first rows name a photograph in it."""
    width = max((len(row) for _, row in rows[:TRIED]), default=0)
    return [
        sum(bool(photographs.get(row[n])) for _, row in rows[:TRIED] if n < len(row))
        for n in range(width)
    ]


def _refuse_several(file: Path, line: int, heading: list[str]) -> None:
    """Raise FileError if columns of labels differ in more than a number (label1, label2)."""
    named = [name for name in heading if LABEL_COLUMN.fullmatch(name.casefold())]
    if len({re.sub(r"[ _-]?\d+$", "", name.casefold()) for name in named}) > 1:
        remedy = "call the one to use labels and delete the others, or number them: label1, label2"
        problem = f"several columns may hold the labels: {listing(named)}"
        raise FileError(f"{file}:{line}", problem, remedy)


def _columns(
    file: Path, rows: list[Row], photographs: Photographs, known: list[str]
) -> tuple[int, set[int], list[Row]]:
    """Return the column of the photographs, those of labels, and the rows without a heading.

    Fields beyond the heading belong to its last column.
    """
    hits = _hits(rows, photographs)
    heading = [field.casefold() for field in rows[0][1]]
    named = {n for n, name in enumerate(heading) if LABEL_COLUMN.fullmatch(name)}
    of_files = [n for n, name in enumerate(heading) if FILE_COLUMN.fullmatch(name)]
    column = max(of_files or range(len(hits)), key=lambda n: hits[n])
    if not hits[column]:
        name = rows[-1][1][column][:200] if column < len(rows[-1][1]) else ""
        near = photographs.near(name)
        problem = f"none of its rows names a photograph below {photographs.folder} ({name!r})"
        remedy = f"{near!r} is there: " if near else ""
        remedy += "correct the names, or set dataset.images to their folder"
        raise FileError(file, problem, remedy)
    first = rows[0][1][column] if column < len(rows[0][1]) else ""
    is_name = photographs.get(first) != "" or without_suffix(first) != first
    others = {*range(max(len(row) for _, row in rows))} - {column}
    has_heading = bool(named or of_files) or (not is_name and len(others) > 1)
    if has_heading:
        others &= {*range(len(heading))}
    cells = [row for _, row in rows[has_heading:]]
    numeric = [n for n in sorted(others - named) if _are_numbers(cells, n, known)]
    if not named and numeric and (not has_heading or len(numeric) == len(others)):
        which = listing([rows[0][1][n] if has_heading else str(n + 1) for n in numeric])
        examples = listing(
            [*dict.fromkeys(row[n] for row in cells for n in numeric if n < len(row))], 3
        )
        problem = f"what may be its labels are numbers (column {which}: {examples})"
        remedy = "write the names of the classes into one column with the heading labels"
        raise FileError(file, problem, f"{remedy}, or the numbers if classes are called so")
    if not has_heading:
        return column, others, rows
    if not named and len(others) != 1:
        problem = f"its heading has no column `labels` ({listing(rows[0][1])})"
        raise FileError(f"{file}:{rows[0][0]}", problem, "name the column of the labels so")
    of_labels = (named or others) - {column}
    if len(heading) - 1 in of_labels:
        of_labels |= {*range(len(heading), max(len(row) for _, row in rows))}
    return column, of_labels, rows[1:]


def _are_numbers(rows: list[list[str]], column: int, known: list[str]) -> bool:
    """Return whether a column holds numbers alone that are none of the known classes."""
    cells = {row[column] for row in rows if column < len(row) and row[column]} - {*known}
    return bool(cells) and all(NUMBER.fullmatch(cell) for cell in cells)


def _labels_in(cell: str, known: list[str]) -> list[str]:
    """Return the labels of a cell, which are separated as columns may be."""
    cell = composed(cell)
    parts = [cell] if cell in known else re.split(f"[{SEPARATORS}]", cell)
    return [part.strip() for part in parts if part.strip()]
