"""Archives that are built in memory, and what unpacking them does."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from i2crc.fetch.archives import extract
from i2crc.runtime.errors import InputError


def tar_bytes(files: dict[str, bytes], *others: tarfile.TarInfo, **options) -> bytes:
    """Return a plain tar of `files` and then the headers `others`, which have no content."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", **options) as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        for member in others:
            tar.addfile(member)
    return buffer.getvalue()


def zip_bytes(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip of `files`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as packed:
        for name, data in files.items():
            packed.writestr(name, data)
    return buffer.getvalue()


def header(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    """Return the header of a tar member of a type such as tarfile.SYMTYPE."""
    member = tarfile.TarInfo(name)
    member.type = kind
    member.linkname = link
    return member


def unpack(tmp_path: Path, data: bytes, *, max_bytes=10**6, max_members=10) -> list[Path]:
    """Unpack `data` into `out` from a file whose name does not tell its kind.

    Return the files, sorted.
    """
    archive = tmp_path / "archive"
    archive.write_bytes(data)
    extract(archive, tmp_path / "out", max_bytes=max_bytes, max_members=max_members)
    return sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file())


def assert_refused(tmp_path: Path, data: bytes, message: str, **limits) -> None:
    """Check that `data` is refused with a message, and that nothing of it is left."""
    with pytest.raises(InputError, match=message) as caught:
        unpack(tmp_path, data, **limits)
    assert str(tmp_path / "archive") in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]
