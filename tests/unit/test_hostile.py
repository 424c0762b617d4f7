"""Files and servers that lie: archives, sidecars of transfers, weight files."""

import gzip
import json
import struct
import tarfile

import pytest
import torch

from i2crc.config import Weights
from i2crc.download import BLOCK_BYTES
from i2crc.files import InputError
from i2crc.weights import file_metadata, load_pretrained, masks_seen, read_state
from unit.test_archives import assert_refused, header, tar_bytes, unpack, zip_bytes
from unit.test_download import (  # noqa: F401
    CUT,
    DATA,
    ETAG,
    answer,
    assert_fetched,
    get,
    ranged,
    server,
    target,
)
from unit.test_weights import Malicious

# Archives.


@pytest.mark.parametrize("make", [tar_bytes, zip_bytes])
def test_names_that_other_file_systems_confuse_stay_apart(tmp_path, make):
    files = {"A.png": b"1", "a.png": b"2", "\u00e9.png": b"3", "e\u0301.png": b"4"}
    assert {path.name: path.read_bytes() for path in unpack(tmp_path, make(files))} == files


@pytest.mark.parametrize("make", [tar_bytes, zip_bytes])
@pytest.mark.parametrize("name", [".", "./."])
def test_file_in_the_place_of_the_folder(tmp_path, make, name):
    assert_refused(tmp_path, make({name: b"x"}), "comes twice|damaged")


@pytest.mark.parametrize("make", [tar_bytes, zip_bytes])
@pytest.mark.parametrize("name", ["C:\\evil", "..\\evil", "-rf", "a\nb", "$(touch evil)"])
def test_strange_names_are_names(tmp_path, make, name):
    (path,) = unpack(tmp_path, make({name: b"x"}))
    assert path == tmp_path / "out" / name


@pytest.mark.parametrize("make", [tar_bytes, zip_bytes])
def test_name_that_is_too_long(tmp_path, make):
    assert_refused(tmp_path, make({"x" * 300: b""}), "cannot be unpacked")


@pytest.mark.parametrize("make", [tar_bytes, zip_bytes])
def test_folders_in_folders_without_end(tmp_path, make):
    files = {"a/" * depth + "x": b"" for depth in range(200, 2000, 200)}
    assert_refused(tmp_path, make(files), "folders in one another", max_members=100)


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
    assert_refused(tmp_path, data, "comes twice|unpacks to more")


def test_zip_whose_directory_and_headers_disagree(tmp_path):
    data = zip_bytes({"good": b"x"}).replace(b"good", b"evil", 1)
    assert_refused(tmp_path, data, "damaged")


def test_archive_in_an_archive_is_only_a_file(tmp_path):
    inner = gzip.compress(tar_bytes({"zeros": bytes(5_000_000)}))
    (path,) = unpack(tmp_path, zip_bytes({"inner.tar.gz": inner}))
    assert path.read_bytes() == inner


# Transfers.


@pytest.mark.parametrize(
    "sidecar",
    [
        "{}",
        "[]",
        "5",
        '{"url": null}',
        '{"url": "URL", "validator": 5, "total": null}',
        '{"url": "URL", "validator": "\\"one\\"", "total": "many"}',
        '{"url": "URL", "validator": "\\"one\\""}',
        "[" * 100_000,
    ],
)
def test_sidecar_of_any_content_means_afresh(server, target, sidecar):  # noqa: F811
    target.parent.mkdir()
    target.with_name("maps.tar.part").write_bytes(b"junk")
    target.with_name("maps.tar.part.json").write_text(sidecar.replace("URL", server.url))
    server.script = [ranged()]
    assert_fetched(target, get(server, target))
    assert "Range" not in server.requests[0]


@pytest.mark.parametrize("length", ["many", "-5", "1e9", "9" * 5000])
def test_length_that_is_no_number(server, target, length):  # noqa: F811
    server.script = [answer(body=DATA, Content_Length=length)]
    try:
        assert_fetched(target, get(server, target, retries=1))
    except InputError as error:
        assert server.url in str(error)


def test_body_longer_than_announced(server, target):  # noqa: F811
    server.script = [answer(body=DATA, Content_Length="100")]
    get(server, target)
    assert target.read_bytes() == DATA[:100]
    with pytest.raises(InputError, match="SHA-256 is"):
        get(server, target, "0" * 64)


def test_answer_that_is_not_http(server, target):  # noqa: F811
    server.script = [lambda handler: handler.wfile.write(b"hello\r\n\r\n"), answer(body=DATA)]
    assert_fetched(target, get(server, target))


def test_retry_after_for_ever_is_not_heeded(server, target, monkeypatch):  # noqa: F811
    waits = []
    monkeypatch.setattr("i2crc.download.time.sleep", waits.append)
    server.script = [answer(503, Retry_After="9" * 400), answer(body=DATA)]
    assert_fetched(target, get(server, target))
    assert waits == [60]


def test_continuation_longer_than_the_file(server, target):  # noqa: F811
    def longer(handler):
        start = int(handler.headers["Range"].removeprefix("bytes=").rstrip("-"))
        span = f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"
        answer(206, DATA[start:] + bytes(BLOCK_BYTES), ETag=ETAG, Content_Range=span)(handler)

    server.script = [CUT, longer]
    with pytest.raises(InputError, match="not fetched"):
        get(server, target, retries=1)
    assert not target.exists()


# Weight files.


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda evil: {"state_dict": {"a": {"b": [evil]}}},
        lambda evil: {"epoch": evil, "state_dict": {"a": torch.zeros(1)}},
        lambda evil: [(evil,)],
    ],
)
def test_code_deep_in_a_checkpoint_does_not_run(tmp_path, wrap, zipped):
    file, trace = tmp_path / "w.pth", tmp_path / "trace"
    torch.save(wrap(Malicious(trace)), file, _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match=r"w\.pth: refused.*convert it once"):
        read_state(file)
    assert not trace.exists()


@pytest.mark.parametrize(
    "content",
    [
        {"state_dict": [1]},
        {"state_dict": 5},
        {5: torch.zeros(1)},
        {"state_dict": {5: torch.zeros(1)}},
    ],
)
def test_checkpoint_of_another_form(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"w\.pth: expected a dictionary of tensors"):
        read_state(tmp_path / "w.pth")


def safetensors(table: dict | bytes, data: bytes = bytes(4), length: int | None = None) -> bytes:
    """A safetensors file with any header, and any `length` stated of it."""
    text = table if isinstance(table, bytes) else json.dumps(table).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(shape: list, offsets: list, dtype: str = "F32") -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize(
    "content",
    [
        safetensors({"a": tensor([1], [0, 8])}),
        safetensors({"a": tensor([2], [0, 4])}),
        safetensors({"a": tensor([1 << 62], [0, 4])}),
        safetensors({"a": tensor([-1], [0, 4])}),
        safetensors({"a": tensor([1], [0, 4]), "b": tensor([1], [0, 4])}),
        safetensors({"a": tensor([1], [4, 0])}),
        safetensors({"a": tensor([1], [0, 4], "EVIL")}),
        safetensors({"a": tensor([1], [0, 4])}, length=1 << 63),
        safetensors({"a": tensor([1], [0, 4])}, length=(1 << 64) - 1),
        safetensors({}, length=90_000_000),
        safetensors(b"[" * 100_000),
    ],
)
def test_safetensors_whose_header_lies(tmp_path, content):
    file = tmp_path / "w.safetensors"
    file.write_bytes(content)
    for read in (read_state, file_metadata):
        with pytest.raises(InputError, match=r"w\.safetensors"):
            read(file)


@pytest.mark.parametrize("metadata", ["[]", "5", "{", "[" * 100_000, '{"masks_seen": 5}'])
def test_safetensors_of_foreign_metadata(tmp_path, metadata):
    file = tmp_path / "w.safetensors"
    table = {"__metadata__": {"i2crc": metadata}, "a": tensor([1], [0, 4])}
    file.write_bytes(safetensors(table))
    weights = Weights(source="file", name=str(file))
    for read in (masks_seen, lambda weights: load_pretrained(weights, "vgg16")):
        with pytest.raises(InputError, match=r"w\.safetensors"):
            read(weights)
