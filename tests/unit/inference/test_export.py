"""Exported networks: other programs run them alone, and get the labels that the run gets."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from helpers.drawn import draw_photo
from helpers.weights import write_model_file
from i2crc.cli import main
from i2crc.config.schema import Segmentation
from i2crc.inference import export
from i2crc.inference.model import load_model
from i2crc.models.deeplab import build_segmentation
from i2crc.models.weight_files import read_metadata, save_weights

SIZES = ((61, 47), (128, 97), (33, 90))
CLASSES = ['a "cat": yes', "dog's"]
SUFFIX = {"onnx": ".onnx", "torch": ".pt2"}
ONNX = """
import json, sys
import numpy as np, onnxruntime
from PIL import Image
session = onnxruntime.InferenceSession(sys.argv[1])
for file in sys.argv[2:]:
    photo = np.asarray(Image.open(file).convert("RGB"))
    labels, logits = session.run(None, {"photos": photo[None]})
    assert logits.shape == (1, 3, *photo.shape[:2]) and labels.dtype == np.uint8
    Image.fromarray(labels[0]).save(file + ".label.png")
two = session.run(["labels"], {"photos": np.stack([photo, photo])})[0]
assert (two == labels).all()
facts = session.get_modelmeta().custom_metadata_map
assert json.loads(json.loads(json.dumps(facts))["i2crc"])["classes"] == json.loads(facts["classes"])
assert not {"torch", "i2crc"} & set(sys.modules)
print(json.dumps(facts))
"""
TORCH = """
import json, sys
import numpy as np, torch
from PIL import Image
facts = dict.fromkeys(("classes", "colors", "input", "license", "equality", "i2crc"), "")
network = torch.export.load(sys.argv[1], extra_files=facts).module()
for file in sys.argv[2:]:
    photo = np.array(Image.open(file).convert("RGB"))
    labels, logits = network(torch.from_numpy(photo)[None])
    Image.fromarray(labels[0].numpy()).save(file + ".label.png")
assert "i2crc" not in sys.modules
print(json.dumps(facts))
"""


def write_network(folder: Path, settings: Segmentation, **changes) -> Path:
    """Write the model file of a network with random weights, whose logits are finite."""
    file = folder / "model.safetensors"
    write_model_file(file, settings=settings.model_dump(), max_side=1024, **changes)
    model = build_segmentation(settings, 2)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        model(torch.randn(2, 3, 129, 129))
    save_weights(file, model, read_metadata(file))
    return file


def exported(model: Path, kind: str) -> Path:
    """Export a model file beside itself with the command."""
    output = model.with_suffix(SUFFIX[kind])
    assert not main.run(["export", str(model), "--format", kind, "--output", str(output)])
    return output


def check_alone(model: Path, kind: str, folder: Path) -> dict[str, str]:
    """Let a program without I2CRC label photographs; return the facts in the exported file."""
    file = exported(model, kind)
    photos = [folder / f"{width}.png" for width, _ in SIZES]
    for number, (path, size) in enumerate(zip(photos, SIZES, strict=True)):
        draw_photo(path, number, size)
    program = ONNX if kind == "onnx" else TORCH
    command = [sys.executable, "-I", "-c", program, file, *photos]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    network = load_model(model)
    equal = [np.asarray(Image.open(f"{path}.label.png")) == network(path).label for path in photos]
    assert np.concatenate([one.ravel() for one in equal]).mean() >= export.EQUAL
    assert str(Path(export.__file__).parents[3]).encode() not in file.read_bytes()
    return json.loads(done.stdout)


@pytest.mark.parametrize("kind", ["onnx", pytest.param("torch", marks=pytest.mark.exhaustive)])
def test_other_programs_run_the_file_alone(tmp_path, capsys, kind):
    settings = Segmentation(backbone="resnet18", output_stride=32, scales=[1.0])
    read = {"inputs": {"\udc80.jpg": "ab12"}}  # a name that is no text
    model = write_network(tmp_path, settings, classes=CLASSES, provenance=read)
    facts = check_alone(model, kind, tmp_path)
    assert json.loads(facts["classes"]) == CLASSES
    assert json.loads(facts["i2crc"])["provenance"] == read
    assert json.loads(facts["colors"]) == [[0, 0, 0], [128, 0, 0], [0, 128, 0]]
    assert facts["license"] == "unknown" and "uint8, RGB 0..255" in facts["input"]
    assert facts["equality"] in capsys.readouterr().out
    assert "186506 pixels have the label of the network" in facts["equality"]


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", SUFFIX)
@pytest.mark.parametrize(
    "settings",
    [
        Segmentation(backbone="efficientnet_lite0", backbone_stage=3, aspp_rates=[2, 4]),
        Segmentation(),  # the published ResNet-101 on three scales
    ],
    ids=["lite", "published"],
)
def test_networks_of_the_presets_are_exported(tmp_path, settings, kind):
    check_alone(write_network(tmp_path, settings), kind, tmp_path)


@pytest.mark.parametrize("pool", [nn.MaxPool2d(3, 2, 1), nn.MaxPool2d(2, 2), nn.MaxPool2d((2, 3))])
def test_the_pool_for_any_size_is_the_same(pool):
    for size in ((8, 8), (9, 12), (13, 7)):
        values = torch.randn(2, 3, *size)
        assert torch.equal(export.AnySizeMaxPool(pool)(values), pool(values))


def test_too_few_equal_pixels_are_an_error():
    label = np.zeros((1, 100, 100), np.uint8)
    other = label.copy()
    other[0, 0, :2] = 1
    with pytest.raises(export.FileError, match=r"only 99\.98% of the pixels .* try --format torch"):
        export._compare(Path("model.safetensors"), "onnx", [other], [label])
    other[0, 0, 1] = 0
    assert export._compare(Path("m"), "onnx", [other], [label]).startswith("9999 of 10000 pixels")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError(), "export: memory ran out (MemoryError)"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "export: memory ran out"),
        (OSError(errno.ENOSPC, "No space left on device"), "no space is left (file system"),
        (ValueError("no such operator"), "cannot be written as onnx (no such operator); try --for"),
    ],
)
@pytest.mark.parametrize("place", ["export", "load"])
def test_a_lack_of_memory_is_no_fault_of_the_format(
    tmp_path, monkeypatch, capsys, place, error, message
):
    def fail(*args, **options):
        raise error

    if place == "load":
        monkeypatch.setattr(export, "_program", lambda *_: None)
    monkeypatch.setattr(torch.export, "export", fail)
    monkeypatch.setitem(export.FORMATS, "onnx", (lambda *_: b"", fail))
    model = write_model_file(tmp_path / "model.safetensors")
    words = ["export", str(model), "--format", "onnx", "--output", str(tmp_path / "new.onnx")]
    assert main.run(words) == 1
    said = capsys.readouterr().err
    assert message in said
    assert ("try --format torch" in said) == isinstance(error, ValueError)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--output", "model.pt2"], "model.pt2: does not end in .onnx; give a file, such as"),
        (["--output", "folder.onnx"], "folder.onnx: a folder; give a file"),
        (["--output", "a.txt/model.onnx"], "a.txt: a file, no folder; give"),
        (["--output", "new.onnx"], r"not a model file of this version (model_file: "),
    ],
)
def test_what_cannot_be_exported_is_said_at_once(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    write_model_file(Path("model.safetensors"), model_file=2)
    Path("folder.onnx").mkdir()
    Path("a.txt").write_text("")
    assert main.run(["export", "model.safetensors", "--format", "onnx", *words]) == 1
    assert message in capsys.readouterr().err
    assert not Path("new.onnx").exists()


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "PACKAGES", ("onnx_is_missing",))
    with pytest.raises(export.InputError, match=r"the package onnx_is_missing, .* `pip install"):
        export.export_network(tmp_path / "model.safetensors", "onnx", tmp_path / "m.onnx")
