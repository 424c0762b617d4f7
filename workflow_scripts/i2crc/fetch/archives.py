"""Unpack tar and zip archives from strangers: nothing outside the folder, no links, no bombs."""

import bz2
import gzip
import io
import lzma
import os
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from i2crc.runtime.errors import InputError

# What the readers raise on damaged input; OSError comes from gzip and bz2 without an errno.
DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
    OverflowError,
    struct.error,
)
DECOMPRESSORS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
TAR_MAGIC_AT, TAR_MAGIC = 257, b"ustar"
MAX_HEADER_BYTES = 1 << 16
MAX_GLOBAL_HEADERS = 1000
# A zip's directory is read into memory at one go: so much of it, at the least, and per member.
DIRECTORY_BYTES, DIRECTORY_BYTES_EACH = 1 << 20, 256
# More than this the standard library, which goes down folders by recursion, might not remove.
MAX_DEPTH = 100


def extract(archive: Path, folder: Path, *, max_bytes: int, max_members: int) -> list[Path]:
    """Unpack `archive` (tar, plain or gz, bz2, xz; zip) into the new `folder`; return its files.

    The paths are sorted and start with `folder`, which appears whole or not at all. InputError for
    a damaged archive, for a member that is neither file nor folder, lies outside or too deep, or
    comes twice, for more than `max_members` members (folders included) and for more than
    `max_bytes` bytes unpacked (a tar's headers included), which are counted as they come out.
    """
    archive, folder = Path(archive), Path(folder)
    if os.path.lexists(folder):
        raise InputError(f"{folder}: already there; delete it to unpack {archive} again")
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        remove(partial)
        partial.mkdir(parents=True)
        names = _unpack(archive, partial, _Budget(archive, max_bytes), max_members)
        os.rename(partial, folder)
    except DAMAGE as error:
        raise _explained(archive, folder, error) from error
    finally:
        with suppress(OSError):
            remove(partial)
    return sorted(folder / name for name in names)


def remove(path: Path) -> None:
    """Remove a folder with all that is in it, if it is there; of a link, the link alone."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def _explained(archive: Path, folder: Path, error: Exception) -> InputError:
    if isinstance(error, OSError) and error.errno is not None:
        return InputError(f"{archive}: cannot be unpacked into {folder} ({error}); mend that first")
    return InputError(
        f"{archive}: damaged, incomplete or encrypted ({error}); delete it and fetch it again"
    )


class _Budget:
    """Counts the bytes that come out of an archive, because its headers may lie about them."""

    def __init__(self, archive: Path, max_bytes: int):
        self.archive = archive
        self.max_bytes = self.left = max_bytes

    def spend(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise _refused(self.archive, f"unpacks to more than {self.max_bytes} bytes")


class _Metered:
    """A file's `read`, paid for out of a budget."""

    def __init__(self, file: BinaryIO, budget: _Budget):
        self.file = file
        self.budget = budget

    def read(self, size: int) -> bytes:
        data = self.file.read(size)
        self.budget.spend(len(data))
        return data


def _refused(archive: Path, reason: str) -> InputError:
    return InputError(f"{archive}: refused, {reason}; give an archive of plain files only")


def _unpack(archive: Path, folder: Path, budget: _Budget, max_members: int) -> list[PurePosixPath]:
    """Write each member under `folder`; return the files' names in it."""
    names = []
    with closing(_members(archive, budget, max_members)) as members:
        for count, (member, content) in enumerate(members, start=1):
            if count > max_members:
                raise _refused(archive, f"holds more than {max_members} members")
            name = PurePosixPath(member)
            if name.is_absolute() or ".." in name.parts:
                raise _refused(archive, f"member {member!r} lies outside the folder")
            if len(name.parts) > MAX_DEPTH:
                raise _refused(archive, f"holds more than {MAX_DEPTH} folders in one another")
            path = folder / name
            if content is None:
                path.mkdir(parents=True, exist_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists():
                raise _refused(archive, f"member {member!r} comes twice")
            with open(path, "xb") as file:
                shutil.copyfileobj(content, file)
            names.append(name)
    return names


def _members(
    archive: Path, budget: _Budget, max_members: int
) -> Iterator[tuple[str, BinaryIO | None]]:
    """Yield each member's name and its content to read before the next (None for a folder)."""
    if not archive.is_file():
        raise InputError(f"{archive}: no such archive; fetch it first")
    with open(archive, "rb") as file:
        start = file.read(TAR_MAGIC_AT + len(TAR_MAGIC))
    if start.startswith(ZIP_MAGIC):
        return _zip_members(archive, budget, max_members)
    for magic, decompressor in DECOMPRESSORS.items():
        if start.startswith(magic):
            return _tar_members(archive, decompressor, budget)
    if start[TAR_MAGIC_AT:] == TAR_MAGIC:
        return _tar_members(archive, open, budget)
    raise InputError(f"{archive}: neither a tar nor a zip archive; delete it, give another source")


class _StrictHeader(tarfile.TarInfo):
    """A tar header that is whole: tarfile takes a damaged one for the end of the archive."""

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        # tarfile's hook for subclasses, which every header passes (frombuf: not in all Pythons).
        # An extended header is read into memory at one go, so its size is no matter of the budget.
        if not self.isreg() and self.size > MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {self.size} bytes")
        return super()._proc_member(tar)

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> tarfile.TarInfo:
        try:
            return super().fromtarfile(tar)
        except tarfile.EOFHeaderError:
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from error


def _tar_members(
    archive: Path, opener: Callable[..., BinaryIO], budget: _Budget
) -> Iterator[tuple[str, BinaryIO | None]]:
    with ExitStack() as stack:
        stream = _Metered(stack.enter_context(opener(archive, "rb")), budget)
        tar = stack.enter_context(tarfile.open(fileobj=stream, mode="r|", tarinfo=_StrictHeader))
        while (member := tar.next()) is not None:
            # What it remembers of each member and of global headers would fill the memory.
            tar.members.clear()
            if len(tar.pax_headers) > MAX_GLOBAL_HEADERS:
                raise _refused(archive, f"holds more than {MAX_GLOBAL_HEADERS} global headers")
            # A sparse file's holes come out of nothing, past the budget.
            if member.issparse() or not (member.isreg() or member.isdir()):
                raise _refused(archive, f"member {member.name!r} is a link, a device or sparse")
            yield member.name, tar.extractfile(member)
        # The compressed stream's own checksum comes only at its very end.
        while stream.read(1 << 20):
            pass


class _ZipFile(io.FileIO):
    """A file of which no more is read at one go than an honest zip's directory takes."""

    def __init__(self, archive: Path, max_members: int):
        super().__init__(archive)
        self.archive = archive
        self.most = DIRECTORY_BYTES + max_members * DIRECTORY_BYTES_EACH

    def read(self, size: int = -1) -> bytes:
        # zipfile believes whatever size of the directory the archive states.
        if size > self.most:
            raise _refused(self.archive, f"its directory says that it has {size} bytes")
        return super().read(size)


def _zip_members(
    archive: Path, budget: _Budget, max_members: int
) -> Iterator[tuple[str, BinaryIO | None]]:
    with _ZipFile(archive, max_members) as file, zipfile.ZipFile(file) as packed:
        for member in packed.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _refused(archive, f"member {member.filename!r} is a link or a device")
            if member.is_dir():
                yield member.filename, None
                continue
            with packed.open(member) as content:
                yield member.filename, _Metered(content, budget)
