"""Files and servers that lie: archives, sidecars of transfers, weight files."""

import gzip
import json
import shlex
import struct
import subprocess
import sys
import tarfile
import zipfile
from contextlib import suppress

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from i2crc.config.schema import Weights
from i2crc.fetch.archives import remove
from i2crc.fetch.download import BLOCK_BYTES
from i2crc.models.weight_files import file_metadata
from i2crc.models.checkpoints import load_weights, read_state
from i2crc.models.pretrained import insert, load_pretrained
from i2crc.models.weight_files import masks_seen
from i2crc.runtime.errors import InputError
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
from unit.test_weights import Malicious, network, same

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
    assert_refused(tmp_path, data, "comes twice|unpacks to more|Overlapped entries")


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


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_chain_of_extended_headers(tmp_path, kind):
    chain = b"".join(pax(kind, f"k{number:05}", 20_000) for number in range(2000))
    assert_refused(tmp_path, gzip.compress(chain + tar_bytes({"a": b"x"}), 1), "damaged|unpacks")
    assert_refused(tmp_path, chain + tar_bytes({"a": b"x"}), "damaged", max_bytes=1 << 30)


def test_global_headers_without_end(tmp_path):
    members = [
        pax(tarfile.XGLTYPE, f"k{number:05}", 10_000)
        + header(f"m{number}", tarfile.REGTYPE).tobuf()
        for number in range(1100)
    ]
    limits = {"max_bytes": 1 << 30, "max_members": 2000}
    data = b"".join([*members, bytes(1024)])
    assert_refused(tmp_path, data, "more than 1000 global headers", **limits)


def test_links_in_the_place_of_folders_are_not_followed(tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "photo").write_text("precious")
    place = tmp_path / "place"
    place.mkdir()
    (place / ".out.partial").symlink_to(mine)
    assert [path.name for path in unpack(place, zip_bytes({"a": b"x"}))] == ["a"]
    assert sorted(path.name for path in mine.iterdir()) == ["photo"]
    for end in (mine, tmp_path / "nowhere"):
        other = tmp_path / f"other-{end.name}"
        other.mkdir()
        (other / "out").symlink_to(end)
        with pytest.raises(InputError, match="already there; delete it"):
            unpack(other, zip_bytes({"a": b"x"}))
        remove(other / "out")
        assert len(unpack(other, zip_bytes({"a": b"x"}))) == 1
    assert sorted(path.name for path in mine.iterdir()) == ["photo"]
    assert not (tmp_path / "nowhere").exists()


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


def test_refused_checkpoint_can_be_converted_as_the_message_says(tmp_path):
    file, trace = tmp_path / "a 'w'.pth", tmp_path / "trace"
    state = network().state_dict()
    torch.save({"state_dict": state, "arguments": Malicious(trace)}, file)
    with pytest.raises(InputError, match=r"If you trust it, convert it once") as caught:
        read_state(file)
    command = str(caught.value).splitlines()[-1].removeprefix("python")
    converted = tmp_path / "b.safetensors"
    assert command.endswith("FILE.pth FILE.safetensors")
    words = [sys.executable, *shlex.split(command)[:-2], str(file), str(converted)]
    subprocess.run(words, check=True)
    assert trace.exists()
    assert same(read_state(converted)[0], state)


def changed(value: torch.Tensor) -> dict:
    """The weights of a network, all of its convolution like `value`."""
    return {**network().state_dict(), "0.weight": value.expand(4, 3, 3, 3).clone()}


@pytest.mark.parametrize("load", ["load_weights", "insert"])
@pytest.mark.parametrize(
    ("state", "message"),
    [
        (changed(torch.tensor(float("nan"))), "0.weight holds NaN or infinity"),
        (changed(torch.tensor(-float("inf"))), "0.weight holds NaN or infinity"),
        (changed(torch.tensor(1e300, dtype=torch.float64)), "0.weight holds NaN or infinity"),
        (changed(torch.tensor(1, dtype=torch.int8)), "0.weight is torch.int8, expected"),
        (changed(torch.tensor(True)), "0.weight is torch.bool, expected"),
        (changed(torch.tensor(1j)), "0.weight is torch.complex64, expected"),
        (
            changed(torch.quantize_per_tensor(torch.ones(()), 0.1, 0, torch.qint8)),
            "0.weight is torch.qint8, expected",
        ),
        ({**changed(torch.ones(())), "0.weight": torch.ones(4, 3, 3, 3).to_sparse()}, "0.weight"),
        ({**changed(torch.ones(())), "0.weight": torch.zeros(1).expand(10**12)}, "0.weight|shapes"),
    ],
)
def test_tensors_that_are_no_weights(tmp_path, load, state, message):
    file = tmp_path / "w.pth"
    torch.save(state, file)
    with pytest.raises(InputError, match=rf"(?s)w\.pth: .*({message})"):
        if load == "insert":
            weights = Weights(source="file", name=str(file))
            insert(network(), load_pretrained(weights, "resnet18"))
        else:
            load_weights(file, network())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_weights_in_other_precisions_are_weights(tmp_path, dtype):
    state = {name: value.to(dtype) for name, value in network().state_dict().items()}
    state["1.num_batches_tracked"] = torch.tensor(0)
    torch.save(state, tmp_path / "w.pth")
    model = network()
    load_weights(tmp_path / "w.pth", model)
    assert torch.equal(model.state_dict()["0.weight"], state["0.weight"].float())


def test_compressed_checkpoint_is_refused(tmp_path):
    """50 MB of zeros in 50 kB: torch would unpack it whole, however much it is."""
    torch.save({"a": torch.zeros(12_500_000)}, tmp_path / "plain.pth")
    with (
        zipfile.ZipFile(tmp_path / "plain.pth") as plain,
        zipfile.ZipFile(tmp_path / "w.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    with pytest.raises(InputError, match=r"w\.pth: refused: .*compressed"):
        read_state(tmp_path / "w.pth")


class Giant:
    """Asks for so many bytes when it is unpickled, by a type that a plain file may hold."""

    def __init__(self, count: int):
        self.count = count

    def __reduce__(self):
        return bytearray, (self.count,)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("count", [10**30, 1 << 62, -1])
def test_checkpoint_that_asks_for_all_memory(tmp_path, count, zipped):
    torch.save({"a": Giant(count)}, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match=r"w\.pth"):
        read_state(tmp_path / "w.pth")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A checkpoint in each of torch's forms, small enough to be damaged byte by byte."""
    folder = tmp_path_factory.mktemp("saved")
    contents = {}
    for zipped in (True, False):
        torch.save({"a": torch.zeros(2)}, folder / "w.pth", _use_new_zipfile_serialization=zipped)
        contents[zipped] = (folder / "w.pth").read_bytes()
    return folder / "w.pth", contents


@pytest.mark.parametrize("zipped", [True, False])
@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1))
def test_damaged_checkpoint_is_read_or_refused(saved, zipped, changes):
    file, contents = saved
    data = bytearray(contents[zipped])
    for place, byte in changes:
        data[int(place * len(data))] = byte
    file.write_bytes(data)
    try:
        state, _ = read_state(file)
    except InputError as error:
        assert "w.pth" in str(error)
    else:
        assert all(isinstance(value, torch.Tensor) for value in state.values())


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
