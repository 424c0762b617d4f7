"""The photographs that a command line names: files, folders and patterns."""

import glob
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from i2crc.data.photographs import find_photographs, ids_of
from i2crc.runtime.errors import FileError

GIVE = "give photographs, or folders of photographs"


class GivenPhoto(NamedTuple):
    """A photograph: its file, and its path below what was given, by which tables name it."""

    file: Path
    name: str


def find_photos(given: Sequence[str], output: Path) -> list[tuple[Path, str]]:
    """Return the photographs of the command line, each with its path below what was given.

    A folder stands for all photographs below it, without those in `output`. Raise FileError for
    what is not there.
    """
    photos: dict[Path, str] = {}
    for word in given:
        paths = [Path(word)]
        if glob.has_magic(word) and not paths[0].exists():
            paths = [Path(match) for match in sorted(glob.glob(word, recursive=True))]
        found = [one for path in paths for one in _photos_at(path.absolute(), output)]
        if not found:
            what = "no photograph in this folder" if paths else "no file has such a name"
            raise FileError(word, what, GIVE)
        photos |= {file: name for file, name in found if file not in photos}
    return list(photos.items())


def _photos_at(path: Path, output: Path) -> list[tuple[Path, str]]:
    """Return a photograph with its name, or those of a folder with their paths below it."""
    if not path.is_dir():
        if not path.is_file():
            raise FileError(path, "no such file", GIVE)
        return [(path, path.name)]
    if path.resolve() == output.resolve():
        problem = "holds the photographs, which would be mixed with their labels"
        raise FileError(path, problem, "give another folder with --output")
    return [(path / name, name) for name in find_photographs(path, [output]).names]


def name_photos(photos: Sequence[tuple[Path, str]]) -> dict[str, GivenPhoto]:
    """Return photographs by the names of their outputs, which are their paths without suffix.

    Photographs that would share a name keep their suffix, and if need be their folders.
    """
    counts = Counter(name for _, name in photos)
    folder = os.path.commonpath([file.parent for file, _ in photos])
    whole = {
        name if counts[name] == 1 else os.path.relpath(file, folder): file for file, name in photos
    }
    ids = ids_of(whole)
    return {ids[name]: GivenPhoto(file, name) for name, file in whole.items()}
