"""Read the lists of a data set: a line `id class class ...` per image, or the same as CSV.

Classes are numbers from 0 or names. A class that comes twice in a line counts once.
"""

import csv
import difflib
import io
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from i2crc.config.schema import Dataset, composed, problem_of_classes
from i2crc.data.index import collecting
from i2crc.data.labelled import NEGATIVE
from i2crc.runtime.errors import FileError, Problem, listing

# Bytes of an id. Stages add to it (`.ID_CLASS.PID.tmp.png`); file systems allow 255 bytes.
LONGEST_ID = 200
# Lines with unknown classes that are reported one by one; more have one cause.
FEW_LINES = 5
# Control characters, surrogates, line and paragraph separators.
UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}
CONTRADICTION = (f"says {NEGATIVE} (no class) and names a class", "take one of them out")
BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True, slots=True)
class ListRow:
    """A photograph of a list: its id and its sorted 0-based classes.

    `classes` are None if they are unknown, and empty if the photograph shows none of them. `place`
    is `FILE:LINE`. `usable` means that the list has no unknown class for it. `file` is its name
    below the folder of the photographs; empty: its id with the usual suffix. `shapes` are its
    annotated objects, if its mask is drawn from them, and `size` is the (width, height) of these.
    """

    id: str
    classes: list[int] | None
    place: str
    usable: bool
    file: str = ""
    shapes: list[dict[str, Any]] | None = None
    size: tuple[int, int] | None = None


def class_names(root: Path, dataset: Dataset) -> list[str]:
    """Return the foreground classes: those of the settings, else the lines of root/classes.txt.

    Raise FileError if there are none, more than 254, or if a name is wrong.
    """
    if dataset.classes:
        return dataset.classes
    file = root / "classes.txt"
    if not file.is_file():
        raise FileError(file, "missing", "write it, a class a line, or set dataset.classes")
    names = [composed(line.strip()) for line in read_text(file).splitlines() if line.strip()]
    if not names:
        raise FileError(file, "has no class", "write one a line")
    if problem := problem_of_classes(names):
        raise FileError(file, *problem)
    return names


def read_label_list(path: Path, classes: list[str] | None) -> tuple[list[ListRow], list[Problem]]:
    """Return the lines of a list that name an image, and all problems of the list.

    `classes` are the names of the foreground classes. If they are unknown (None), the classes of
    the lines are not read. A file whose name ends in `.csv` is read as CSV, so its ids may contain
    spaces and commas.
    """
    names = classes or []
    # A number is never a name: with the names 1, 2, 3 nobody knows which was meant.
    numbers = {name: number for number, name in enumerate(names) if not name.isdecimal()}
    numbers |= {str(number): number for number in range(len(names))}
    rows: dict[str, ListRow] = {}
    problems: list[Problem] = []
    no_class: list[Problem] = []
    foreign: dict[str, None] = {}  # a set in the order of the lines
    with collecting(problems):
        for line, name, fields in _lines(path):
            place = f"{path}:{line}"
            words = [word for f in fields for word in ([f] if f in numbers else f.split())]
            is_negative, words = NEGATIVE in words, [word for word in words if word != NEGATIVE]
            unknown = [word for word in words if word not in numbers and names]
            wrong = wrong_name(place, name, rows.get(name))
            problems += [wrong] if wrong else []
            no_class += [_no_class(place, unknown, names, line)] if unknown else []
            foreign |= dict.fromkeys(unknown)
            if is_negative and words:
                problems.append(Problem(place, *CONTRADICTION))
            if not wrong:
                found = sorted({numbers[word] for word in words if word in numbers})
                is_known = is_negative or found
                rows[name] = ListRow(name, found if is_known else None, place, not unknown)
    if len(no_class) > FEW_LINES:
        problem = f"{len(no_class)} lines name classes ({listing([*foreign])}) that this run does "
        problem += f"not have (its classes: {listing(names)})"
        remedy = "set dataset.classes to the names of the list, or to [] if they are in classes.txt"
        no_class = [Problem(str(path), problem, f"{remedy}, or correct the list")]
    problems += no_class
    if not rows and not problems:
        remedy = "write a line for each: its id, then its classes"
        problems.append(Problem(str(path), "lists no image", remedy))
    return list(rows.values()), problems


def read_text(path: Path) -> str:
    """Return the text of a file without a byte-order mark; raise FileError if it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        remedy = "check dataset.root and the name of the file"
        raise FileError(path, f"cannot be read ({error.strerror})", remedy) from error
    except UnicodeDecodeError as error:
        raise FileError(path, f"not UTF-8 ({error})", "save it as UTF-8") from error


def _lines(path: Path) -> Iterator[tuple[int, str, list[str]]]:
    """Yield number, id and class fields of each line that is not blank."""
    text = read_text(path)
    form: dict[str, Any] = {"strict": True}
    if path.suffix.lower() != ".csv":
        text, form = text.replace("\t", " "), {"delimiter": " ", "quoting": csv.QUOTE_NONE}
    # newline="": an id may contain characters at which splitlines() would split.
    reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, **form)
    try:
        for name, *fields in filter(any, reader):
            yield reader.line_num, name, [composed(field.strip()) for field in fields]
    except csv.Error as error:
        place = f"{path}:{reader.line_num}"
        raise FileError(place, f"no line of CSV ({error})", "correct its quotes") from error


def wrong_name(place: str, name: str, before: ListRow | None) -> Problem | None:
    """Return why a name cannot be an id; `before` is the line that has the same one."""
    remedy = "rename the image"
    if any(unicodedata.category(c) in UNPRINTABLE or c == BYTE_ORDER_MARK for c in name):
        problem = "has a character that cannot be printed"
    elif not name or "/" in name:
        problem = "is not a plain file name"
        remedy = "give the name of the photograph, without folder and ending"
    elif name.startswith("."):
        problem, remedy = "is a hidden file and no photograph", "take the line out"
    elif len(name.encode()) > LONGEST_ID:
        problem = f"has a name of {len(name.encode())} bytes"
        remedy += f": stages add to its name, so {LONGEST_ID} are allowed"
    elif before:
        problem = f"is listed in line {before.place.rpartition(':')[2]} too"
        remedy = "take one of the lines out"
    else:
        return None
    return Problem(place, f"image {name[:50]!r} {problem}", remedy)


def _no_class(place: str, unknown: list[str], classes: list[str], line: int) -> Problem:
    """Return one problem for all words of a line that are no class."""
    near = difflib.get_close_matches(unknown[0], classes, n=1, cutoff=0.5)
    remedy = f"classes are the numbers 0 to {len(classes) - 1}, or their names"
    remedy += f"; the nearest is {near[0]!r}" if near else ""
    remedy += " (if the line is a heading, delete it)" if line == 1 else ""
    words = ", ".join(repr(word[:50]) for word in unknown[:5])
    return Problem(place, f"{words}: no class", remedy)
