"""Read the lists of a data set: a line `id class class ...` per image, or the same as CSV.

Classes are numbers from 0 or names. A class that comes twice in a line counts once.
"""

import csv
import difflib
import io
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from i2crc.runtime.errors import FileError, Problem

# Bytes of an id. Stages add to it (`.ID_CLASS.PID.tmp.png`); file systems allow 255 bytes.
LONGEST_ID = 200
# Control characters, surrogates, line and paragraph separators.
UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}
BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True)
class ListRow:
    """A line of a list: an image and its sorted 0-based classes (None if it has none).

    `place` is `FILE:LINE`. `usable` means that all its classes are known.
    """

    id: str
    classes: list[int] | None
    place: str
    usable: bool


def read_label_list(path: Path, classes: list[str] | None) -> tuple[list[ListRow], list[Problem]]:
    """Return the lines of a list that name an image, and all problems of the list.

    `classes` are the names of the foreground classes; None if they are unknown, and then any class
    is accepted. A file whose name ends in `.csv` is read as CSV, so its ids may contain spaces and
    commas.
    """
    rows: dict[str, ListRow] = {}
    problems: list[Problem] = []
    try:
        for number, name, fields in _lines(path):
            place = f"{path}:{number}"
            fields = [word for field in fields for word in _words(field, classes)]
            numbers = [_class(field, classes) for field in fields]
            found = [*_no_id(name), *_listed_before(rows.get(name))]
            unusable = _no_class(fields, numbers, classes, number)
            problems += [Problem(place, *words) for words in (*found, *unusable)]
            if not found:
                known = sorted({n for n in numbers if n is not None})
                rows[name] = ListRow(name, known or None, place, not unusable)
    except FileError as error:
        problems.append(error.problem)
    if not rows and not problems:
        problems.append(
            Problem(str(path), "lists no image", "write a line for each: its id, then its classes")
        )
    return list(rows.values()), problems


def read_text(path: Path) -> str:
    """Return the text of a file without a byte-order mark; raise FileError if it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise FileError(
            path,
            f"cannot be read ({error.strerror})",
            "check dataset.root and the name of the file",
        ) from error
    except UnicodeDecodeError as error:
        raise FileError(path, f"not UTF-8 ({error})", "save it as UTF-8") from error


def _lines(path: Path) -> Iterator[tuple[int, str, list[str]]]:
    """Yield number, id and class fields of each line that is not blank."""
    text = read_text(path)
    if path.suffix.lower() == ".csv":
        yield from _csv_lines(path, text)
        return
    # splitlines() and split() would also split at characters that an id may contain.
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text), 1):
        name, *fields = re.split(r"[ \t]+", line.strip(" \t"))
        if name:
            yield number, name, fields


def _csv_lines(path: Path, text: str) -> Iterator[tuple[int, str, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True)
    try:
        for name, *fields in filter(any, reader):
            yield reader.line_num, name, [field.strip() for field in fields]
    except csv.Error as error:
        raise FileError(
            f"{path}:{reader.line_num}", f"no line of CSV ({error})", "correct its quotes"
        ) from error


def _no_id(name: str) -> list[tuple[str, str]]:
    """Return why a name cannot be an id, and the remedy; nothing for a valid id."""
    if any(unicodedata.category(c) in UNPRINTABLE or c == BYTE_ORDER_MARK for c in name):
        return [(f"image {name[:50]!r} has a character that cannot be printed", "rename the image")]
    if not name or "/" in name:
        return [
            (
                f"image {name[:50]!r} is not a plain file name",
                "give the name of the photograph, without folder and ending",
            )
        ]
    if len(name.encode()) > LONGEST_ID:
        return [
            (
                f"image {name[:20]!r}... has a name of {len(name.encode())} bytes",
                f"rename the image: stages add to its name, so {LONGEST_ID} are allowed",
            )
        ]
    return []


def _listed_before(row: ListRow | None) -> list[tuple[str, str]]:
    if row is None:
        return []
    line = row.place.rpartition(":")[2]
    return [(f"image {row.id!r} is listed in line {line} too", "take one of the lines out")]


def _words(field: str, classes: list[str] | None) -> list[str]:
    """Return the classes in a field: one name with spaces, or several words."""
    return [field] if classes is not None and field in classes else field.split()


def _class(field: str, classes: list[str] | None) -> int | None:
    """Return the 0-based class of a number or name; None if it is no class."""
    if field.isascii() and field.isdigit() and len(field) < 10:
        return int(field) if classes is None or int(field) < len(classes) else None
    return classes.index(field) if classes is not None and field in classes else None


def _no_class(
    fields: list[str], numbers: list[int | None], classes: list[str] | None, line: int
) -> list[tuple[str, str]]:
    """Return one problem for all fields of a line that are no class, and the remedy."""
    unknown = [field for field, n in zip(fields, numbers, strict=True) if n is None]
    if not unknown or classes is None:
        return []
    near = difflib.get_close_matches(unknown[0], classes, n=1, cutoff=0.5)
    return [
        (
            f"{', '.join(repr(field[:50]) for field in unknown[:5])}: no class",
            f"classes are the numbers 0 to {len(classes) - 1}, or their names"
            + (f"; the nearest is {near[0]!r}" if near else "")
            + (" (if the line is a heading, delete it)" if line == 1 else ""),
        )
    ]
