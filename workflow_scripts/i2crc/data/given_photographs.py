"""The photographs that a command line names: files, folders and patterns."""

import glob
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from i2crc.data.photographs import (
    OVERLAY,
    SUFFIXES,
    find_photographs,
    ids_of,
    segmented_among,
)
from i2crc.runtime.errors import FileError

GIVE = "give photographs, or folders of photographs"


class GivenPhoto(NamedTuple):
    """A photograph: its file, and the name in tables, which no other photograph has."""

    file: Path
    name: str


def find_photos(given: Sequence[str], output: Path) -> list[tuple[Path, str]]:
    """Return the photographs of the command line, each with its path below what was given.

    A folder stands for all photographs below it, without those in `output`, and so do the folders
    that a pattern matches. Raise FileError for what is not there.
    """
    photos: dict[Path, str] = {}
    for word in given:
        paths = [Path(word)]
        if glob.has_magic(word) and not os.path.exists(word):
            paths = _matches(word, output)
        found = [one for path in paths for one in _photos_at(_without_dots(path), output)]
        if not found:
            what = "no photograph in this folder" if paths else "no photograph has such a name"
            raise FileError(word, what, GIVE)
        photos |= {file: name for file, name in found if file not in photos}
    return list(photos.items())


def _matches(pattern: str, output: Path) -> list[Path]:
    """Return the folders and photographs of a pattern, without `output` and earlier outputs."""
    matches = sorted(glob.glob(pattern, recursive=True))
    folders = {name for name in matches if os.path.isdir(name)}
    files = {name for name in matches if name.lower().endswith(SUFFIXES)} - folders
    beside = {f"{name.removesuffix('.png')}{OVERLAY}" for name in files if name.endswith(".png")}
    beside |= {f"{name.removesuffix(OVERLAY)}.png" for name in files if name.endswith(OVERLAY)}
    files -= segmented_among(Path(), files.union(filter(os.path.exists, beside)))
    folders = {name for name in folders if Path(name).resolve() != output.resolve()}
    taken = files | folders
    return [Path(name) for name in matches if name in taken]


def _without_dots(path: Path) -> Path:
    """Return an absolute path without `..`, which means another folder behind a link."""
    if ".." not in path.parts:
        return path.absolute()
    return path.resolve() if path.is_dir() else path.parent.resolve() / path.name


def _photos_at(path: Path, output: Path) -> list[tuple[Path, str]]:
    """Return a photograph with its name, or those of a folder with their paths below it."""
    if not os.path.isdir(path):
        if not os.path.isfile(path):
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
    paths = [os.path.relpath(file, folder) for file, _ in photos]
    whole = [
        name if counts[name] == 1 else path for path, (_, name) in zip(paths, photos, strict=True)
    ]
    if len({*whole}) < len(photos):  # the path of one is the name of another
        whole = paths
    ids = ids_of(whole)
    return {
        ids[unique]: GivenPhoto(file, unique)
        for unique, (file, _) in zip(whole, photos, strict=True)
    }
