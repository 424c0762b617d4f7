"""Archives and servers that lie."""

import gzip
import struct
import tarfile
import tracemalloc
import zipfile
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from helpers.archives import assert_refused, header, tar_bytes, unpack, zip_bytes
from helpers.server import DATA, answer, assert_fetched, get, ranged
from i2crc.fetch.archives import remove
from i2crc.runtime.errors import InputError

# Archives.


@pytest.mark.parametrize("make", [tar_bytes, zip_bytes])
def test_names_that_other_file_systems_confuse_stay_apart(tmp_path, make):
    files = {"A.png": b"1", "a.png": b"2", "\u00e9.png": b"3", "e\u0301.png": b"4"}
    assert {path.name: path.read_bytes() for path in unpack(tmp_path, make(files))} == files


@pytest.mark.parametrize("make", [tar_bytes, zip_bytes])
@pytest.mark.parametrize("name", [".", "./."])
def test_file_in_the_place_of_the_folder(tmp_path, make, name):
    assert_refused(tmp_path, make({name: b"x"}), "damaged")


@pytest.mark.parametrize("make", [tar_bytes, zip_bytes])
@pytest.mark.parametrize("name", ["C:\\evil", "..\\evil", "-rf", "a\nb", "$(touch evil)"])
def test_strange_names_are_names(tmp_path, make, name):
    (path,) = unpack(tmp_path, make({name: b"x"}))
    assert path == tmp_path / "out" / name


@pytest.mark.parametrize("make", [tar_bytes, zip_bytes])
def test_name_that_is_too_long(tmp_path, make):
    assert_refused(tmp_path, make({"x" * 300: b""}), "File name too long")


@pytest.mark.parametrize("make", [tar_bytes, zip_bytes])
def test_folders_in_folders_without_end(tmp_path, make):
    files = {"a/" * depth + "x": b"" for depth in range(200, 2000, 200)}
    assert_refused(tmp_path, make(files), "too deep", max_members=100)


def test_file_behind_a_link(tmp_path):
    link = header("link", tarfile.SYMTYPE, str(tmp_path))
    data = tar_bytes({}, link, header("link/evil", tarfile.REGTYPE))
    assert_refused(tmp_path, data, "'link' is a link")


def test_tar_member_of_a_giant_size(tmp_path):
    member = header("a", tarfile.REGTYPE)
    member.size = 1 << 50
    data = member.tobuf(tarfile.GNU_FORMAT) + bytes(1024)
    assert_refused(tmp_path, data, "damaged")
    assert_refused(tmp_path, gzip.compress(data), "damaged")


def test_zip_members_that_share_their_content(tmp_path):
    """A directory of many entries over one piece of data: small on disk, without end unpacked."""
    content = zip_bytes({"a": bytes(300_000)})
    start = content.index(b"PK\x01\x02")
    end = content.index(b"PK\x05\x06")
    entries = [content[start:end].replace(b"a", name, 1) for name in (b"a", b"a", b"a", b"a")]
    directory = b"".join(entries)
    counts = struct.pack("<HHII", 4, 4, len(directory), start)
    data = content[:start] + directory + content[end : end + 8] + counts + b"\0\0"
    assert_refused(tmp_path, data, "unpacks to more|Overlapped entries|is in it twice")


def test_zip_whose_directory_and_headers_disagree(tmp_path):
    data = zip_bytes({"good": b"x"}).replace(b"good", b"evil", 1)
    assert_refused(tmp_path, data, "damaged")


def test_archive_in_an_archive_is_only_a_file(tmp_path):
    inner = gzip.compress(tar_bytes({"zeros": bytes(5_000_000)}))
    (path,) = unpack(tmp_path, zip_bytes({"inner.tar.gz": inner}))
    assert path.read_bytes() == inner


def zip64(size: int, offset: int, entries: int) -> bytes:
    """The end of a zip that states the size, place and number of entries of its directory."""
    end = struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, entries, entries, size, offset)
    locator = struct.pack("<IIQI", 0x07064B50, 0, 0, 1)
    return end + locator + struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize("size", [1 << 24, 1 << 40, (1 << 64) - 1])
def test_zip_directory_of_a_giant_size(tmp_path, size):
    data = zip_bytes({"a": b"x"}) + bytes(1 << 24) + zip64(size, 0, 1)
    assert_refused(tmp_path, data, "directory says that it has 16777216 bytes|damaged")


def test_zip_directory_is_not_read_into_memory_first(tmp_path):
    data = zip_bytes({f"{number:0200}": b"" for number in range(5000)}, zipfile.ZIP_STORED)
    assert_refused(tmp_path, data, "directory says that it has 1230000 bytes")
    assert len(unpack(tmp_path, data, max_members=5000)) == 5000


@given(st.lists(st.tuples(st.integers(0, 250), st.integers(0, 255)), min_size=1, max_size=4))
@example([(150, 255), (151, 255)])
def test_damaged_zip_is_unpacked_or_refused(tmp_path_factory, changes):
    data = bytearray(zip_bytes({"a": b"x" * 20}) + zip64(51, 0, 1))
    for place, byte in changes:
        data[place % len(data)] = byte
    with suppress(InputError):
        unpack(tmp_path_factory.mktemp("damaged"), bytes(data))


def pax(kind: bytes, key: str, length: int) -> bytes:
    """An extended header of one record of five digits' length."""
    record = f" {key}={'v' * length}\n".encode()
    record = b"%d%b" % (len(record) + 5, record)
    member = header("pax", kind)
    member.size = len(record)
    return member.tobuf(tarfile.GNU_FORMAT) + record + bytes(-len(record) % 512)


def test_global_headers_are_not_kept_in_memory(tmp_path):
    members = [
        pax(tarfile.XGLTYPE, f"k{number:05}", 10_000)
        + header(f"m{number}", tarfile.REGTYPE).tobuf()
        for number in range(1100)
    ]
    data = gzip.compress(b"".join([*members, bytes(1024)]), 1)
    tracemalloc.start()
    assert len(unpack(tmp_path, data, max_bytes=1 << 30, max_members=2000)) == 1100
    assert tracemalloc.get_traced_memory()[1] < 1 << 22
    tracemalloc.stop()


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_chain_of_extended_headers(tmp_path, kind):
    chain = b"".join(pax(kind, f"k{number:05}", 20_000) for number in range(2000))
    data = chain + tar_bytes({"a": b"x"})
    for packed in (data, gzip.compress(data, 1)):
        assert_refused(tmp_path, packed, "headers of more than", max_bytes=1 << 30)


def test_link_that_is_removed_is_not_followed(tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "photo").write_text("precious")
    (tmp_path / "out").symlink_to(mine)
    with pytest.raises(FileExistsError):
        unpack(tmp_path, zip_bytes({"a": b"x"}))
    remove(tmp_path / "out")
    assert len(unpack(tmp_path, zip_bytes({"a": b"x"}))) == 1
    assert [path.name for path in mine.iterdir()] == ["photo"]


# Transfers.


@pytest.mark.parametrize("length", ["many", "-5", "1e9", "9" * 5000])
def test_length_that_is_no_number(server, target, length):
    server.script = [answer(body=DATA, Content_Length=length)]
    try:
        assert_fetched(target, get(server, target, retries=1))
    except InputError as error:
        assert server.url in str(error)


def test_body_longer_than_announced(server, target):
    server.script = [answer(body=DATA, Content_Length="100")]
    get(server, target)
    assert target.read_bytes() == DATA[:100]
    with pytest.raises(InputError, match="SHA-256 is"):
        get(server, target, "0" * 64)


def test_answer_that_is_not_http(server, target):
    server.script = [lambda handler: handler.wfile.write(b"hello\r\n\r\n"), answer(body=DATA)]
    assert_fetched(target, get(server, target))


@pytest.mark.parametrize(
    "sidecar",
    [
        "{}",
        "[]",
        "5",
        '{"url": null}',
        '{"url": "URL", "version": 5}',
        '{"url": "URL", "version": null}',
        '{"url": "URL", "etag": "one"}',
        "[" * 100_000,
    ],
)
def test_sidecar_of_any_content_means_afresh(server, target, sidecar):
    target.parent.mkdir()
    target.with_name("maps.tar.part").write_bytes(b"junk")
    target.with_name("maps.tar.part.json").write_text(sidecar.replace("URL", server.url))
    server.script = [ranged()]
    assert_fetched(target, get(server, target))
    assert "Range" not in server.requests[0]
