"""The photographs below a folder, found by the endings of their names, and their ids."""

import os
import posixpath
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from i2crc.runtime.atomic import visible_files
from i2crc.runtime.errors import FileError, counted, listing

# The ending of a picture to look at, which `i2crc segment` writes beside a label image.
OVERLAY = "_overlay.jpg"
SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm",
    ".pgm", ".heic", ".heif",
)  # fmt: skip


@dataclass(frozen=True)
class Photographs:
    """The photographs below a folder: their names below it, with `/` between folders, sorted.

    `others` are the names of the files below it that are no photographs. Folders `outside` are not
    searched. `made` are outputs of this project: folders of a run's results, and label images with
    overlays of `i2crc segment`.
    """

    folder: Path
    names: list[str]
    others: list[str]
    outside: list[Path]
    made: list[str]

    @cached_property
    def _short(self) -> dict[str, str | None]:
        """Ways to name a photograph in short -> its name; None if several have it."""
        short: dict[str, str | None] = {}
        for name in self.names:
            parts = name.split("/")
            ends = ["/".join(parts[start:]) for start in range(len(parts))]
            for way in dict.fromkeys([*ends, *map(without_suffix, ends)]):
                short[way] = None if way in short else name
        short |= {name: name for name in self.names}
        ways = [way for name in self.names for way in (name, without_suffix(name))]
        return {f"{self._base}/{way}": short[way] for way in ways} | short

    @cached_property
    def _base(self) -> str:
        """The name of the folder, with which the names in a data set may begin."""
        return posixpath.basename(os.path.abspath(self.folder))

    @cached_property
    def _similar(self) -> dict[str, str]:
        """The plain form of each name, and of it without suffix and leading zeros -> the name."""
        plain = {plain_name(without_suffix(name)): name for name in self.names}
        # Spreadsheets turn 007 into 7.
        without_zeros = {key.lstrip("0") or key: name for key, name in plain.items()}
        return without_zeros | plain | {plain_name(name): name for name in self.names}

    def get(self, name: str) -> str | None:
        """Return the photograph that a data set names; "" if there is none, None if several.

        The suffix, and the folders if there is no other of its name, may be missing. Before them
        there may be the path of the folder of the photographs, from wherever it begins.
        """
        path = name.replace("\\", "/")
        from_base = path[path.rfind(f"/{self._base}/") + 1 :]
        ways = [self._short.get(posixpath.normpath(way), "") for way in (path, name, from_base)]
        return next(filter(None, ways), None if None in ways else "")

    def near(self, name: str) -> str:
        """Return the photograph whose name differs little from a name; "" if there is none."""
        ways = (name, without_suffix(name))
        return next(filter(None, (self._similar.get(plain_name(way)) for way in ways)), "")

    def find(self, name: str, place: str, advice: str = "") -> str:
        """Return the photograph that a data set names at `place` (`FILE:LINE`), as `get` does.

        Raise FileError if there is none, or several; `advice` is added to the remedy.
        """
        if found := self.get(name):
            return found
        if found is None:
            remedy = "write its folders and its ending, too"
            raise FileError(place, f"several photographs have the name {name[:200]!r}", remedy)
        near = self.near(name)
        remedy = (
            f"{near!r} is there: correct the name" if near else "correct the name, or take it out"
        )
        raise FileError(place, f"no photograph {name[:200]!r} below {self.folder}", remedy + advice)

    def ignored(self, read: Collection[Path]) -> list[str]:
        """Return warnings that count the files that are neither photographs nor `read`."""
        others = [name for name in self.others if self.folder / name not in read]
        hidden = [name for name in others if posixpath.basename(name).startswith(".")]
        rest = [name for name in others if name not in set(hidden)]
        parts = [counted(len(hidden), "hidden file")] if hidden else []
        if rest:
            parts += [f"{counted(len(rest), 'file')} with another ending ({listing(rest)})"]
        are = "is" if len(others) == 1 else "are"
        warnings = [f"{self.folder}: {' and '.join(parts)} {are} ignored"] if parts else []
        if self.made:
            what = f"outputs of I2CRC ({listing(self.made, 3)})"
            warnings.append(f"{self.folder}: {what} are no photographs and are ignored")
        return warnings


def find_photographs(folder: Path, outside: Sequence[Path] = ()) -> Photographs:
    """Return the photographs below a folder, at any depth, but for those in the folders `outside`.

    Hidden files and folders are no photographs, and outputs of this project are none. Raise
    FileError if the folder is missing, or one below it cannot be read.
    """
    if not folder.is_dir():
        raise FileError(f"dataset.images: {folder}", "no such folder", "correct the setting")
    check_readable(folder)
    names: list[str] = []
    others: list[str] = []
    made: list[str] = []
    for place, folders, files in visible_files(folder, outside):
        below = os.path.relpath(place, folder)
        if {"config.yaml", ".lock"} <= {*files} and "logs" in folders:  # the results of a run
            folders.clear()
            made.append(below)
            continue
        for name in folders:
            check_readable(Path(place, name))
        for name in files:
            is_photograph = not name.startswith(".") and name.lower().endswith(SUFFIXES)
            (names if is_photograph else others).append(posixpath.normpath(f"{below}/{name}"))
    segmented = segmented_among(folder, names)
    names = sorted(name for name in names if name not in segmented)
    return Photographs(folder, names, sorted(others), [*outside], sorted([*made, *segmented]))


def check_readable(folder: Path) -> None:
    """Raise FileError if a folder cannot be read."""
    if not os.access(folder, os.R_OK | os.X_OK):
        remedy = "make it readable (chmod, chown), or move it elsewhere"
        raise FileError(folder, "no permission to read this folder", remedy)


def segmented_among(folder: Path, names: Iterable[str]) -> set[str]:
    """Return the outputs of `i2crc segment` among names: an overlay with its label image."""
    there = {*names}
    stems = [name.removesuffix(OVERLAY) for name in there if name.endswith(OVERLAY)]
    pairs = {f"{stem}.png": f"{stem}{OVERLAY}" for stem in stems if f"{stem}.png" in there}
    if not pairs:
        return set()
    from i2crc.data.images import mask_size  # which imports numpy

    masks = [name for name in pairs if mask_size(folder / name)]
    return {*masks, *(pairs[name] for name in masks)}


def ids_of(names: Iterable[str]) -> dict[str, str]:
    """Return name -> id of photographs: the name without its suffix, if no other has that."""
    ids = {name: without_suffix(name) for name in names}
    while shared := {i for i, count in Counter(ids.values()).items() if count > 1}:
        ids = {name: name if found in shared else found for name, found in ids.items()}
    return ids


def without_suffix(name: str) -> str:
    """Return a name without the ending of a photograph."""
    stem, suffix = posixpath.splitext(name)
    return stem if suffix.lower() in SUFFIXES else name


def plain_name(name: str) -> str:
    """Return a name without differences that people do not see."""
    return unicodedata.normalize("NFKC", name).casefold().strip()
