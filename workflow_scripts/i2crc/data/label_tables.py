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
        by_hits = [(max(_hits(rows, photographs), default=0), _width(rows)) for rows in tried]
        hits, width = max(by_hits, default=(0, 0))
        if wrong and not hits and width < 2:
            labels.problems.append(wrong[0])
            return labels
        rows = tried[by_hits.index((hits, width))]
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


def _width(rows: list[Row]) -> int:
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
    while heading and not heading[-1].strip():  # spreadsheets fill up short rows
        heading.pop()
    named = {n for n, name in enumerate(heading) if LABEL_COLUMN.fullmatch(name)}
    of_files = [n for n, name in enumerate(heading) if FILE_COLUMN.fullmatch(name)]
    column = max(of_files or range(len(hits)), key=lambda n: hits[n])
    if not hits[column]:
        last = rows[-1][1][column][:200] if column < len(rows[-1][1]) else ""
        problem = f"none of its rows names a photograph below {photographs.folder} ({last!r})"
        near = photographs.near(last)
        remedy = f"{near!r} is there: " if near else ""
        remedy += "correct the names, or in a configuration, dataset.images"
        raise FileError(file, problem, remedy)
    width = max(len(row) for _, row in rows)
    others = {*range(width)} - {column}
    first = rows[0][1][column] if column < len(heading) else ""
    is_name = photographs.get(first) != "" or without_suffix(first) != first
    if named or of_files or (len(others) > 1 and not is_name):
        others &= {*range(len(heading))}
        if not named and len(others) != 1:
            problem = f"its heading has no column `labels` ({listing(rows[0][1])})"
            remedy = "name the column of the labels so, and write the names of classes into it"
            raise FileError(f"{file}:{rows[0][0]}", problem, remedy)
        rows = rows[1:]
    if not named:
        _refuse_numbers(file, rows, others, known)
    of_labels = (named or others) - {column}
    if len(heading) - 1 in of_labels:
        of_labels |= {*range(len(heading), width)}
    return column, of_labels, rows


def _refuse_numbers(file: Path, rows: list[Row], columns: set[int], known: list[str]) -> None:
    """Raise FileError if a column that nothing calls labels holds numbers alone, none a class."""
    for column in sorted(columns):
        cells = dict.fromkeys(row[column] for _, row in rows if column < len(row))
        values = [cell for cell in cells if cell and cell not in known]
        if values and all(map(NUMBER.fullmatch, values)):
            problem = f"column {column + 1} holds numbers alone ({listing(values, 3)})"
            remedy = "call the column of the labels `labels` and that of the photographs `file`"
            raise FileError(file, problem, f"{remedy} in a first line")


def _labels_in(cell: str, known: list[str]) -> list[str]:
    """Return the labels of a cell, which are separated as columns may be."""
    cell = composed(cell)
    if cell in known:
        return [cell]
    around = None  # white space
    if cell.startswith("[") and cell.endswith("]"):  # a list as Python and JSON write it
        cell, around = cell[1:-1], " '\""
    parts = (part.strip(around) for part in re.split(f"[{SEPARATORS}]", cell))
    return [part for part in parts if part]
