"""Unpack tar and zip archives from untrusted sources: plain files in one folder, within limits."""

import bz2
import gzip
import io
import lzma
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any, BinaryIO

from i2crc.runtime.errors import InputError, storage_number

DECOMPRESSORS: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
# A tar member may have several headers; tarfile reads each of them into memory.
MAX_HEADER_BYTES = 1 << 17
# shutil.rmtree is recursive and could not remove folders nested much deeper.
MAX_DEPTH = 100


def extract(archive: Path, folder: Path, *, max_bytes: int, max_members: int) -> None:
    """Unpack `archive` into the new `folder`; on an error, remove what was unpacked.

    The archive is a tar (plain, gz, bz2 or xz) or a zip; its content decides, not its name.
    `max_members` counts files and folders; `max_bytes` counts unpacked bytes, including the headers
    of a tar.

    Raise InputError if the archive is damaged or exceeds a limit. Also raise it for a member that
    is neither a file nor a folder, lies outside `folder`, or is nested too deep. Raise
    FileExistsError if `folder` is there.
    """
    budget = _Budget(archive, max_bytes, max_members)
    folder.mkdir(parents=True)
    try:
        with open(archive, "rb") as file:
            start = file.read(8)
        if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            _unzip(archive, folder, budget)
        else:
            openers = (one for magic, one in DECOMPRESSORS.items() if start.startswith(magic))
            with next(openers, open)(archive, "rb") as file:
                _untar(file, folder, budget)
    except BaseException as error:
        remove(folder)
        # The readers raise errors of many kinds for damaged input.
        is_damage = isinstance(error, Exception) and not isinstance(error, InputError | MemoryError)
        if not is_damage or storage_number(error):
            raise
        raise InputError(
            f"{archive}: no tar or zip archive, damaged, incomplete or encrypted ({error}); "
            "delete it and fetch it again, or give another source"
        ) from error


def remove(path: Path) -> None:
    """Remove a file, a folder with its content, or a link without its target, if it exists."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


class _Budget:
    """Counts what comes out of an archive, and refuses more than is allowed."""

    def __init__(self, archive: Path, max_bytes: int, max_members: int) -> None:
        self.archive, self.max_bytes, self.max_members = archive, max_bytes, max_members
        self.bytes = self.members = 0
        # The byte at which the headers of the next member must have ended.
        self.limit = max_bytes

    def refused(self, reason: str) -> InputError:
        return InputError(f"{self.archive}: refused, {reason}; give an archive of plain files")

    def spend(self, count: int) -> None:
        """Count unpacked bytes; raise InputError above the limit."""
        self.bytes += count
        if self.bytes > self.max_bytes:
            raise self.refused(f"unpacks to more than {self.max_bytes} bytes")
        if self.bytes > self.limit:
            raise self.refused(f"a member has headers of more than {MAX_HEADER_BYTES} bytes")

    def admit(self, name: str, is_plain: bool, folder: Path) -> None:
        """Count a member; raise InputError if it must not be written into `folder`."""
        self.members += 1
        path = PurePosixPath(name)
        if self.members > self.max_members:
            raise self.refused(f"holds more than {self.max_members} members")
        if not is_plain:
            raise self.refused(f"member {name!r} is a link, a device or sparse")
        if path.is_absolute() or ".." in path.parts or len(path.parts) > MAX_DEPTH:
            raise self.refused(f"member {name!r} lies outside the folder or too deep in it")
        if (folder / name).is_file():
            raise self.refused(f"member {name!r} is in it twice")


class _StrictHeader(tarfile.TarInfo):
    """A tar header that is whole: tarfile takes a damaged one for the end of the archive."""

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> "_StrictHeader":
        try:
            return super().fromtarfile(tar)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from error


def _untar(file: BinaryIO, folder: Path, budget: _Budget) -> None:
    def read(size: int) -> bytes:
        data = file.read(size)
        budget.spend(len(data))
        return data

    budget.limit = MAX_HEADER_BYTES
    # In this mode tarfile calls no other method, and reads in small blocks.
    stream: Any = SimpleNamespace(read=read)
    with tarfile.open(fileobj=stream, mode="r|", tarinfo=_StrictHeader) as tar:
        while (member := tar.next()) is not None:
            budget.limit = budget.max_bytes
            # The holes of a sparse file are not in the stream, so they would not be counted.
            is_plain = (member.isreg() or member.isdir()) and not member.issparse()
            budget.admit(member.name, is_plain, folder)
            tar.extract(member, folder, set_attrs=False, filter="data")
            # tarfile would keep the headers of all members in memory.
            tar.members.clear()  # type: ignore[attr-defined]
            tar.pax_headers.clear()  # type: ignore[attr-defined]
            budget.limit = budget.bytes + MAX_HEADER_BYTES
    # The checksum of a compressed stream is at its very end.
    budget.limit = budget.max_bytes
    while read(1 << 20):
        pass


class _ZipFile(io.FileIO):
    """A zip file that refuses to read a larger directory than the allowed members need."""

    def __init__(self, archive: Path, budget: _Budget) -> None:
        super().__init__(archive)
        self.budget, self.most = budget, (1 << 20) + 256 * budget.max_members

    def read(self, size: int | None = -1) -> bytes:
        # zipfile trusts the size of the directory that the archive states.
        if size and size > self.most:
            raise self.budget.refused(f"its directory says that it has {size} bytes")
        return super().read(size)


def _unzip(archive: Path, folder: Path, budget: _Budget) -> None:
    with _ZipFile(archive, budget) as file, zipfile.ZipFile(file) as packed:
        for member in packed.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            budget.admit(member.filename, kind in (0, stat.S_IFREG, stat.S_IFDIR), folder)
            # zipfile never writes more bytes than the directory states.
            budget.spend(member.file_size)
            packed.extract(member, folder)
