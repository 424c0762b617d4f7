"""Weight files that lie: their code does not run, and a message names the file."""

import json
import shlex
import struct
import subprocess
import sys
import zipfile

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.weights import Malicious, network, same
from i2crc.config.schema import Weights
from i2crc.models.pretrained import insert, load_pretrained
from i2crc.models.weight_files import file_metadata, load_weights, masks_seen, read_state
from i2crc.runtime.errors import InputError


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
    with pytest.raises(InputError, match=r"if you trust it, convert it once") as caught:
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
    """Allocates `count` bytes when it is unpickled, by a type that plain files may hold."""

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
