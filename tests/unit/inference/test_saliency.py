"""Saliency maps from ONNX networks: U2-Net-p, others, and files that are none."""

import sys
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image

from helpers.onnx_file import write_mean
from helpers.project import ROOT, run
from i2crc.config.schema import SaliencyModel
from i2crc.data.index import Entry, Index
from i2crc.inference.saliency import load_saliency, saliency_map
from i2crc.models import weight_files
from i2crc.models.weight_files import U2NETP, saliency_network
from i2crc.runtime.atomic import write_json
from i2crc.runtime.errors import FileError, InputError

PLAIN = {"input_size": 64, "divide_by": 255, "mean": [0, 0, 0], "std": [1, 1, 1]}


def drawn(brightness: int) -> Image.Image:
    """A square on black, of the size that needs no resizing."""
    photo = Image.new("RGB", (320, 320))
    photo.paste((brightness,) * 3, (80, 80, 200, 200))
    return photo


@pytest.fixture(scope="module")
def u2netp():
    return load_saliency(saliency_network(SaliencyModel())[0], SaliencyModel())


def test_the_default_network_finds_the_object_at_any_brightness(u2netp):
    model = SaliencyModel()
    bright, dark = (saliency_map(u2netp, drawn(b), model) for b in (200, 100))
    assert bright.dtype == np.uint8
    assert bright[90:190, 90:190].min() > 200
    assert bright[:60].max() < 50 and bright[:, 220:].max() < 50
    # The pixels are divided by the largest of the photograph.
    assert np.abs(bright.astype(int) - dark).max() <= 1
    by_255 = model.model_copy(update={"divide_by": 255})
    assert np.abs(saliency_map(u2netp, drawn(100), by_255).astype(int) - dark).max() > 1
    wide = saliency_map(u2netp, drawn(200).resize((96, 64)), model)
    assert wide.shape == (64, 96) and wide[20:36, 30:54].min() > 200


def test_any_network_with_its_size_and_normalisation(tmp_path):
    write_mean(tmp_path / "mean.onnx", size="64")
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    pixels = np.asarray(photo) / 255
    for changes in ({}, {"mean": [0.5, 0, 0], "std": [1, 0.5, 1e9]}):
        model = SaliencyModel(path=str(tmp_path / "mean.onnx"), **{**PLAIN, **changes})
        found = saliency_map(load_saliency(tmp_path / "mean.onnx", model), photo, model)
        grey = ((pixels - model.mean) / model.std).mean(axis=2)
        expected = (grey - grey.min()) / (grey.max() - grey.min()) * 255
        assert np.abs(found - expected).max() < 1.01


def test_a_network_counts_by_its_content_whatever_its_name(tmp_path):
    """A user's file that was renamed computes no map again; another content does."""
    drawn(200).save(tmp_path / "a.png")
    entry = Entry("a", str(tmp_path / "a.png"), None, [0], 320, 320, "0" * 64)
    write_json(tmp_path / "index.json", asdict(Index("train", ["cat"], [entry])))

    def log(name: str) -> str:
        model = SaliencyModel(path=str(tmp_path / name), **PLAIN)
        command = [
            sys.executable, ROOT / "workflow_scripts/data/compute_saliency.py",
            "--settings", model.model_dump_json(), "--index", tmp_path / "index.json",
            "--folder", tmp_path / "maps", "--manifest", tmp_path / "1-of-1.json",
        ]  # fmt: skip
        done = run(command, tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stderr

    write_mean(tmp_path / "mean.onnx")
    assert "mean.onnx (licence unknown)" in log("mean.onnx")
    (tmp_path / "mean.onnx").rename(tmp_path / "renamed.onnx")
    assert "1 of 1 images were already made" in log("renamed.onnx")
    write_mean(tmp_path / "renamed.onnx", size="64")
    assert "renamed.onnx (licence unknown)" in log("renamed.onnx")


@pytest.mark.parametrize("color", ["black", "white"])
def test_a_map_without_a_highest_point_is_black(tmp_path, color):
    write_mean(tmp_path / "mean.onnx")
    model = SaliencyModel(**PLAIN)
    network = load_saliency(tmp_path / "mean.onnx", model)
    assert not saliency_map(network, Image.new("RGB", (5, 3), color), model).any()


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda path: path.write_bytes(b"no network"), r"net\.onnx: .* give an ONNX file that"),
        (lambda path: write_mean(path, axis=2),
         r"net\.onnx: its first output is 1x3x1x64, not 1x1xHxW; give a network that makes one"),
        (lambda path: write_mean(path, size="32"),
         r"net\.onnx: .*it is given 1x3x64x64 float32: correct saliency\.model\.input_size"),
    ],
)  # fmt: skip
def test_a_file_that_makes_no_map_is_named(tmp_path, write, words):
    write(tmp_path / "net.onnx")
    with pytest.raises(FileError, match=words):
        load_saliency(tmp_path / "net.onnx", SaliencyModel(**PLAIN))


def test_a_map_that_is_not_finite_is_refused(tmp_path):
    write_mean(tmp_path / "mean.onnx")
    model = SaliencyModel(**{**PLAIN, "mean": [3e38] * 3})
    network = load_saliency(tmp_path / "mean.onnx", model)
    with pytest.raises(InputError, match=r"output is not finite; correct saliency\.model"):
        saliency_map(network, Image.new("RGB", (5, 3), "white"), model)


def test_network_and_licence_are_known(tmp_path):
    path, facts = saliency_network(SaliencyModel())
    assert path.name == "u2netp.onnx" and facts == U2NETP
    assert facts["licence"] == "Apache-2.0"
    write_mean(tmp_path / "mean.onnx")
    path, facts = saliency_network(SaliencyModel(path=str(tmp_path / "mean.onnx")))
    assert facts == {"name": "mean.onnx", "licence": "unknown", "sha256": facts["sha256"]}
    assert len(facts["sha256"]) == 64


def test_a_network_that_is_missing_or_another_is_refused(tmp_path, monkeypatch):
    with pytest.raises(FileError, match=r"none\.onnx: no such saliency network; correct saliency"):
        saliency_network(SaliencyModel(path="none.onnx"))
    write_mean(tmp_path / "mean.onnx")
    with pytest.raises(FileError, match=r"its SHA-256 is \w{64}, not 0{64}; correct saliency\.mod"):
        saliency_network(SaliencyModel(path=str(tmp_path / "mean.onnx"), sha256="0" * 64))
    monkeypatch.setattr(weight_files, "U2NETP_PACKAGE", "not-installed")
    with pytest.raises(FileError, match=r"u2netp\.onnx: no such .*make venv.*--no-deps not-inst"):
        saliency_network(SaliencyModel())
