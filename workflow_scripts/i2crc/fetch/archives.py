"""Unpack tar and zip archives from untrusted sources: plain files in one folder, within limits."""

import bz2
import gzip
import io
import lzma
import math
import os
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from i2crc.runtime.errors import InputError

# What the readers raise on damaged input; gzip and bz2 raise OSError without an errno.
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
DECOMPRESSORS: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
TAR_MAGIC_AT, TAR_MAGIC = 257, b"ustar"
# A tar member may have several headers; tarfile reads each of them into memory.
MAX_HEADER_BYTES = 1 << 17
MAX_GLOBAL_HEADERS = 1000
# zipfile reads the directory of an archive into memory: a base size, and more for each member.
DIRECTORY_BYTES, DIRECTORY_BYTES_EACH = 1 << 20, 256
# shutil.rmtree is recursive and could not remove folders nested much deeper.
MAX_DEPTH = 100


def extract(archive: Path, folder: Path, *, max_bytes: int, max_members: int) -> list[Path]:
    """Unpack `archive` into the new `folder` and return the sorted paths of its files.

    The archive is a tar (plain, gz, bz2 or xz) or a zip; its content decides, not its name. The
    paths begin with `folder`, which appears complete or not at all. `max_members` counts files and
    folders; `max_bytes` counts unpacked bytes, including the headers of a tar.

    Raise InputError if the archive is damaged or exceeds a limit. Also raise it for a member that
    is neither a file nor a folder, lies outside `folder`, is nested too deep or comes twice.
    """
    archive, folder = Path(archive), Path(folder)
    if not archive.is_file():
        raise InputError(f"{archive}: no such archive; fetch it first")
    if os.path.lexists(folder):
        raise InputError(f"{folder}: already there; delete it to unpack {archive} again")
    target = _Target(archive, folder.with_name(f".{folder.name}.partial"), max_bytes, max_members)
    try:
        remove(target.folder)
        target.folder.mkdir(parents=True)
        _unpack(target)
        os.rename(target.folder, folder)
    except DAMAGE as error:
        raise _explained(archive, folder, error) from error
    finally:
        with suppress(OSError):
            remove(target.folder)
    return sorted(folder / name for name in target.files)


def remove(path: Path) -> None:
    """Remove a file, a folder with its content, or a link without its target, if it exists."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def _explained(archive: Path, folder: Path, error: Exception) -> InputError:
    if isinstance(error, OSError) and error.errno is not None:
        return InputError(
            f"{archive}: cannot be unpacked into {folder} ({error}); free disk space, correct "
            "permissions, or give another archive"
        )
    return InputError(
        f"{archive}: damaged, incomplete or encrypted ({error}); delete it and fetch it again"
    )


class _Target:
    """The folder that an archive is unpacked into, and the limits of what may come out of it."""

    def __init__(self, archive: Path, folder: Path, max_bytes: int, max_members: int) -> None:
        self.archive, self.folder = archive, folder
        self.max_bytes, self.max_members = max_bytes, max_members
        self.bytes = self.members = 0
        self.files: list[PurePosixPath] = []

    def refused(self, reason: str) -> InputError:
        return InputError(f"{self.archive}: refused, {reason}; give an archive of plain files only")

    def spend(self, count: int) -> None:
        """Count unpacked bytes; raise InputError above the limit."""
        self.bytes += count
        if self.bytes > self.max_bytes:
            raise self.refused(f"unpacks to more than {self.max_bytes} bytes")

    def admit(self, member: str, is_folder: bool) -> None:
        """Count a member; raise InputError if it must not be written."""
        self.members += 1
        if self.members > self.max_members:
            raise self.refused(f"holds more than {self.max_members} members")
        name = PurePosixPath(member)
        if name.is_absolute() or ".." in name.parts:
            raise self.refused(f"member {member!r} lies outside the folder")
        if len(name.parts) > MAX_DEPTH:
            raise self.refused(f"holds more than {MAX_DEPTH} folders in one another")
        path = self.folder / name
        if path.exists() and not (is_folder and path.is_dir()):
            raise self.refused(f"member {member!r} comes twice")
        if not is_folder:
            self.files.append(name)


def _unpack(target: _Target) -> None:
    with open(target.archive, "rb") as file:
        start = file.read(TAR_MAGIC_AT + len(TAR_MAGIC))
    if start.startswith(ZIP_MAGIC):
        return _unzip(target)
    for magic, decompressor in DECOMPRESSORS.items():
        if start.startswith(magic):
            return _untar(target, decompressor)
    if start[TAR_MAGIC_AT:] == TAR_MAGIC:
        return _untar(target, open)
    raise InputError(
        f"{target.archive}: neither a tar nor a zip archive; delete it, give another source"
    )


class _StrictHeader(tarfile.TarInfo):
    """A tar header that is complete: tarfile takes a damaged one for the end of the archive."""

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> "_StrictHeader":
        try:
            return super().fromtarfile(tar)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from error


class _TarStream:
    """The decompressed bytes of a tar, counted as they are read.

    `left` is the number of bytes that may still be read before the content of the next member.
    """

    def __init__(self, file: BinaryIO, target: _Target) -> None:
        self.file, self.target = file, target
        self.left: float = MAX_HEADER_BYTES

    def read(self, size: int) -> bytes:
        data = self.file.read(size)
        self.target.spend(len(data))
        self.left -= len(data)
        if self.left < 0:
            raise self.target.refused(f"a member has headers of more than {MAX_HEADER_BYTES} bytes")
        return data


def _untar(target: _Target, opener: Callable[..., Any]) -> None:
    with opener(target.archive, "rb") as file:
        stream = _TarStream(file, target)
        # In this mode tarfile reads in small blocks and calls no other method of the stream.
        source: Any = stream
        with tarfile.open(fileobj=source, mode="r|", tarinfo=_StrictHeader) as tar:
            while (member := tar.next()) is not None:
                stream.left = math.inf
                # tarfile would keep all members in memory.
                tar.members.clear()  # type: ignore[attr-defined]
                if len(tar.pax_headers) > MAX_GLOBAL_HEADERS:
                    raise target.refused(f"holds more than {MAX_GLOBAL_HEADERS} global headers")
                # The holes of a sparse file are not in the stream, so they would not be counted.
                if member.issparse() or not (member.isreg() or member.isdir()):
                    raise target.refused(f"member {member.name!r} is a link, a device or sparse")
                target.admit(member.name, member.isdir())
                tar.extract(member, target.folder, set_attrs=False, filter="data")
                stream.left = MAX_HEADER_BYTES
        stream.left = math.inf
        # The checksum of a compressed stream is at its very end.
        while stream.read(1 << 20):
            pass


class _ZipFile(io.FileIO):
    """A zip file that refuses to read a directory larger than `max_members` members need."""

    def __init__(self, target: _Target) -> None:
        super().__init__(target.archive)
        self.target = target
        self.most = DIRECTORY_BYTES + target.max_members * DIRECTORY_BYTES_EACH

    def read(self, size: int | None = -1) -> bytes:
        # zipfile trusts the size of the directory that the archive states.
        if size and size > self.most:
            raise self.target.refused(f"its directory says that it has {size} bytes")
        return super().read(size)


def _unzip(target: _Target) -> None:
    with _ZipFile(target) as file, zipfile.ZipFile(file) as packed:
        for member in packed.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise target.refused(f"member {member.filename!r} is a link or a device")
            target.admit(member.filename, member.is_dir())
            # zipfile never writes more bytes than the directory states.
            target.spend(member.file_size)
            packed.extract(member, target.folder)
