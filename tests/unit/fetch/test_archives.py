"""Unpacking archives: sound ones whole, hostile and damaged ones not at all."""

import bz2
import errno
import gzip
import io
import lzma
import random
import stat
import tarfile
import tracemalloc
import zipfile

import pytest

from helpers.archives import assert_refused, header, tar_bytes, unpack, zip_bytes
from i2crc.fetch.archives import MAX_HEADER_BYTES
from i2crc.runtime.errors import InputError

FILES = {"top/a.png": random.Random(0).randbytes(30_000), "top/deep/b.png": b"b", "top/empty": b""}


SOUND = {
    "tar": tar_bytes(FILES),
    "gnu tar": tar_bytes(FILES, format=tarfile.GNU_FORMAT),
    "tar.gz": gzip.compress(tar_bytes(FILES)),
    "tar.bz2": bz2.compress(tar_bytes(FILES)),
    "tar.xz": lzma.compress(tar_bytes(FILES)),
    "zip": zip_bytes(FILES),
    "stored zip": zip_bytes(FILES, zipfile.ZIP_STORED),
    "lzma zip": zip_bytes(FILES, zipfile.ZIP_LZMA),
}


@pytest.mark.parametrize("kind", SOUND)
def test_sound_archive(tmp_path, kind):
    paths = unpack(tmp_path, SOUND[kind])
    assert paths == sorted(tmp_path / "out" / name for name in FILES)
    assert {str(path.relative_to(tmp_path / "out")): path.read_bytes() for path in paths} == FILES
    assert {path.name for path in tmp_path.iterdir()} == {"archive", "out"}


def test_folders_and_long_names(tmp_path):
    long = "/".join(["folder" * 10] * 4) + "/x"
    for number, options in enumerate([{"format": tarfile.GNU_FORMAT}, {}]):
        base = tmp_path / str(number)
        base.mkdir()
        data = tar_bytes({"./a": b"1", long: b"2"}, header("./void", tarfile.DIRTYPE), **options)
        assert unpack(base, data) == sorted([base / "out" / "a", base / "out" / long])
        assert (base / "out" / "void").is_dir()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_is_there_twice_is_refused(tmp_path):
    twice = io.BytesIO(zip_bytes({"top/a": b"1"}))
    with zipfile.ZipFile(twice, "a") as packed:
        packed.writestr("top/a", b"2")
    doubled = tar_bytes({"top/a": b"1"}, header("top/a", tarfile.REGTYPE))
    for kind, data in (("zip", twice.getvalue()), ("tar", doubled)):
        (tmp_path / kind).mkdir()
        with pytest.raises(InputError, match="refused, member 'top/a' is in it twice"):
            unpack(tmp_path / kind, data)


def test_zip_with_folder_entries(tmp_path):
    unpack(tmp_path, zip_bytes({"top/": b"", "top/a": b"1"}))
    assert (tmp_path / "out" / "top" / "a").read_bytes() == b"1"


def test_permissions_of_the_archive_do_not_count(tmp_path):
    member = header("script", tarfile.REGTYPE)
    member.mode = 0o6777
    (path,) = unpack(tmp_path, tar_bytes({}, member))
    assert not path.stat().st_mode & (stat.S_ISUID | stat.S_ISGID | stat.S_IXUSR)


@pytest.mark.parametrize("make", [tar_bytes, zip_bytes])
@pytest.mark.parametrize("name", ["/absolute", "../up", "top/../../up", ".."])
def test_name_outside(tmp_path, make, name):
    assert_refused(tmp_path, make({"ok": b"", name: b"evil"}), "lies outside")


@pytest.mark.parametrize("make", [tar_bytes, zip_bytes])
def test_folder_outside(tmp_path, make):
    data = zip_bytes({"../up/": b""})
    if make is tar_bytes:
        data = tar_bytes({}, header("../up", tarfile.DIRTYPE))
    assert_refused(tmp_path, data, "lies outside")


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
)
def test_tar_link_or_device(tmp_path, kind):
    data = tar_bytes({"a": b"1"}, header("b", kind, "a"))
    assert_refused(tmp_path, data, "'b' is a link, a device")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_zip_link_or_device(tmp_path, kind):
    member = zipfile.ZipInfo("b")
    member.external_attr = (kind | 0o777) << 16
    assert_refused(tmp_path, zip_bytes({member: b"/etc/passwd"}), "'b' is a link, a device")


def test_sparse_file(tmp_path):
    data = bytearray(tar_bytes({}, header("hole", tarfile.GNUTYPE_SPARSE)))
    data[386:398] = b"%011o\0" % 0
    data[398:410] = b"%011o\0" % 0
    data[483:495] = b"%011o\0" % 10**9
    data[148:156] = b"        "
    data[148:156] = b"%06o\0 " % sum(data[:512])
    assert_refused(tmp_path, bytes(data), "sparse")


@pytest.mark.parametrize("make", [tar_bytes, zip_bytes])
@pytest.mark.parametrize("names", [("a", "a/b"), ("a/b", "a")])
def test_names_in_each_others_way(tmp_path, make, names):
    assert_refused(tmp_path, make(dict.fromkeys(names, b"x")), "no tar or zip archive, damaged")


BOMB = {"zeros": bytes(5_000_000)}


@pytest.mark.parametrize(
    "data",
    [
        tar_bytes(BOMB),
        gzip.compress(tar_bytes(BOMB)),
        bz2.compress(tar_bytes(BOMB)),
        lzma.compress(tar_bytes(BOMB)),
        zip_bytes(BOMB),
        zip_bytes({str(number): bytes(300_000) for number in range(5)}),
        gzip.compress(tar_bytes({}) + bytes(5_000_000)),
    ],
    ids=["tar", "gz", "bz2", "xz", "zip", "zip of many", "zeros after the end"],
)
def test_bomb(tmp_path, data):
    assert_refused(tmp_path, data, "unpacks to more than 1000000 bytes")


def test_zip_whose_header_lies_about_the_size(tmp_path):
    data = zip_bytes(BOMB).replace((5_000_000).to_bytes(4, "little"), (5).to_bytes(4, "little"))
    assert_refused(tmp_path, data, "damaged|unpacks to more")


def test_giant_extended_header(tmp_path):
    member = header("pax", tarfile.XHDTYPE)
    member.size = 1 << 40
    # GNU_FORMAT writes the size alone, not the content that it announces.
    start = member.tobuf(tarfile.GNU_FORMAT)
    assert_refused(tmp_path, start + bytes(1024), "damaged")
    data = gzip.compress(start + bytes(1 << 26))
    tracemalloc.start()
    message = f"headers of more than {MAX_HEADER_BYTES} bytes"
    assert_refused(tmp_path, data, message, max_bytes=1 << 40)
    assert tracemalloc.get_traced_memory()[1] < 1 << 22
    tracemalloc.stop()


@pytest.mark.parametrize("length", [5000, 100_000])
def test_long_headers_are_read(tmp_path, length):
    data = tar_bytes({"a": b"1"}, format=tarfile.PAX_FORMAT, pax_headers={"note": "x" * length})
    (path,) = unpack(tmp_path, data)
    assert path.read_bytes() == b"1"


@pytest.mark.parametrize("make", [tar_bytes, zip_bytes])
def test_too_many_members(tmp_path, make):
    files = {f"{number}": b"" for number in range(11)}
    assert_refused(tmp_path, make(files), "more than 10 members")


@pytest.mark.parametrize("kind", SOUND)
@pytest.mark.parametrize("part", [0.05, 0.5, 0.95])
def test_truncated(tmp_path, kind, part):
    data = SOUND[kind]
    # A plain tar is cut into its first member: it has no checksum of the whole.
    length = data.index(b"top/deep") if kind.endswith("tar") else len(data)
    assert_refused(tmp_path, data[: int(length * part)], "delete it and fetch it again")


@pytest.mark.parametrize("kind", ["tar.gz", "tar.bz2", "tar.xz"])
def test_cut_after_the_last_member(tmp_path, kind):
    assert_refused(tmp_path, SOUND[kind][:-4], "delete it and fetch it again")


def test_tar_cut_between_members(tmp_path):
    data = SOUND["tar"]
    cut = data.index(b"top/deep/b.png")
    assert_refused(tmp_path, data[:cut], "damaged")
    assert_refused(tmp_path, data[: cut + 100], "damaged")


@pytest.mark.parametrize("kind", ["tar.gz", "tar.bz2", "tar.xz", "zip", "stored zip", "lzma zip"])
def test_flipped_byte(tmp_path, kind):
    data = bytearray(SOUND[kind])
    data[len(data) // 2] ^= 0xFF
    assert_refused(tmp_path, bytes(data), "delete it and fetch it again")


def test_damaged_tar_header(tmp_path):
    data = bytearray(SOUND["tar"])
    data[data.index(b"top/deep/b.png")] ^= 0xFF
    assert_refused(tmp_path, bytes(data), "damaged")


def test_encrypted_zip(tmp_path):
    data = bytearray(zip_bytes({"a": b"secret"}))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    assert_refused(tmp_path, bytes(data), "encrypted")


@pytest.mark.parametrize("data", [b"", b"hello", b"\x89PNG\r\n\x1a\n"])
def test_no_archive(tmp_path, data):
    assert_refused(tmp_path, data, "no tar or zip archive.*give another source")


def test_a_tar_whose_first_folder_begins_like_a_zip(tmp_path):
    assert len(unpack(tmp_path, tar_bytes({"PKU/a.png": b"x"}))) == 1


def test_gzip_of_something_else(tmp_path):
    assert_refused(tmp_path, gzip.compress(b"hello" * 500), "damaged")


def test_present_folder_is_not_touched(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(FileExistsError):
        unpack(tmp_path, SOUND["zip"])
    assert (tmp_path / "out" / "mine").exists()


def test_full_disk_is_no_fault_of_the_archive(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", full)
    with pytest.raises(OSError, match="No space left"):
        unpack(tmp_path, SOUND["zip"])
    assert not (tmp_path / "out").exists()
