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

SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm",
    ".pgm", ".heic", ".heif",
)  # fmt: skip


@dataclass(frozen=True)
class Photographs:
    """The photographs below a folder: their names below it, with `/` between folders, sorted.

    `others` are the names of the files below it that are no photographs. Folders `outside` are not
    searched.
    """

    folder: Path
    names: list[str]
    others: list[str]
    outside: list[Path]

    @cached_property
    def _short(self) -> dict[str, str | None]:
        """Ways to name a photograph in short -> its name; None if several have it."""
        short: dict[str, str | None] = {}
        for name in self.names:
            base = posixpath.basename(name)
            for way in dict.fromkeys([without_suffix(name), base, without_suffix(base)]):
                short[way] = None if way in short else name
        return short | {name: name for name in self.names}

    @cached_property
    def _similar(self) -> dict[str, str]:
        """The plain form of each name, and of it without its suffix -> the name."""
        plain = {plain_name(without_suffix(name)): name for name in self.names}
        return plain | {plain_name(name): name for name in self.names}

    def get(self, name: str) -> str | None:
        """Return the photograph that a data set names; "" if there is none, None if several.

        The suffix, and the folders if there is no other of its name, may be missing.
        """
        found = self._short.get(posixpath.normpath(name), "")
        return self._short.get(posixpath.normpath(name.replace("\\", "/")), "") or found

    def find(self, name: str, place: str, advice: str = "") -> str:
        """Return the photograph that a data set names at `place` (`FILE:LINE`), as `get` does.

        Raise FileError if there is none, or several; `advice` is added to the remedy.
        """
        if found := self.get(name):
            return found
        if found is None:
            remedy = "write its folders and its ending, too"
            raise FileError(place, f"several photographs have the name {name[:200]!r}", remedy)
        similar = self._similar
        near = similar.get(plain_name(name)) or similar.get(plain_name(without_suffix(name)))
        remedy = (
            f"{near!r} is there: correct the name" if near else "correct the name, or take it out"
        )
        raise FileError(place, f"no photograph {name[:200]!r} below {self.folder}", remedy + advice)

    def ignored(self, read: Collection[Path]) -> list[str]:
        """Return a warning that counts the files that are neither photographs nor `read`."""
        others = [name for name in self.others if self.folder / name not in read]
        hidden = [name for name in others if posixpath.basename(name).startswith(".")]
        rest = [name for name in others if name not in set(hidden)]
        parts = [counted(len(hidden), "hidden file")] if hidden else []
        if rest:
            parts += [f"{counted(len(rest), 'file')} with another ending ({listing(rest)})"]
        are = "is" if len(others) == 1 else "are"
        return [f"{self.folder}: {' and '.join(parts)} {are} ignored"] if parts else []


def find_photographs(folder: Path, outside: Sequence[Path] = ()) -> Photographs:
    """Return the photographs below a folder, at any depth, but for those in the folders `outside`.

    Hidden files and folders are no photographs. Raise FileError if the folder is missing.
    """
    if not folder.is_dir():
        raise FileError(f"dataset.images: {folder}", "no such folder", "correct the setting")
    names: list[str] = []
    others: list[str] = []
    for place, _, files in visible_files(folder, outside):
        below = os.path.relpath(place, folder)
        for name in files:
            is_photograph = not name.startswith(".") and name.lower().endswith(SUFFIXES)
            (names if is_photograph else others).append(posixpath.normpath(f"{below}/{name}"))
    return Photographs(folder, sorted(names), sorted(others), [*outside])


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
