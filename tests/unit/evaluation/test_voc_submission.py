"""The archive for the VOC server: complete, checked, and the same every time."""

import io
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.project import ROOT
from helpers.restored import check_restored
from i2crc.artifacts.stages import STAGES
from i2crc.data.images import voc_palette, write_gray, write_label
from i2crc.runtime.atomic import write_json

SCRIPT = ROOT / "workflow_scripts" / STAGES["voc_submission"].script
FOLDER = "results/VOC2012/Segmentation/comp6_test_cls"
SIZES = {"2008_000006": (7, 5), "2007_000001": (4, 6), "2010_000003": (3, 3)}
K = 2


@pytest.fixture
def data(tmp_path):
    """An index of three photographs, and their labels in two manifests."""
    draw = np.random.default_rng(0)
    entries = []
    for name, (width, height) in SIZES.items():
        write_label(tmp_path / "labels" / f"{name}.png", draw.integers(0, K + 1, (height, width)))
        entries.append(
            {"id": name, "image": "", "mask": None, "classes": None,
             "width": width, "height": height, "sha256": ""}
        )  # fmt: skip
    write_json(
        tmp_path / "test.json", {"split": "test", "classes": ["cat", "dog"], "images": entries}
    )
    write_manifest(tmp_path / "1.json", "2008_000006", "2007_000001", "of_no_index")
    write_manifest(tmp_path / "2.json", "2010_000003")
    return tmp_path


def write_manifest(path: Path, *names: str) -> None:
    write_json(path, {"folder": "labels", "files": {f"{name}.png": "" for name in names}})


def label(data: Path, name: str) -> Path:
    return data / "labels" / f"{name}.png"


def command(data: Path, output: Path) -> list:
    """The script and its arguments."""
    return [
        SCRIPT, "--index", data / "test.json",
        "--manifests", data / "1.json", data / "2.json", "--output", output,
    ]  # fmt: skip


def submit(data: Path, output: Path) -> subprocess.CompletedProcess:
    started = [sys.executable, *command(data, output)]
    return subprocess.run(started, capture_output=True, text=True, check=False)


def refusal(data: Path) -> str:
    """What the script says when it refuses, having written nothing."""
    done = submit(data, data / "out" / "refused.zip")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert not list(data.rglob("*refused*"))
    return done.stderr


def test_archive_holds_the_label_of_every_image(data):
    done = submit(data, data / "out" / "submission.zip")
    assert done.returncode == 0, done.stderr
    assert "3 label images" in done.stderr
    with zipfile.ZipFile(data / "out" / "submission.zip") as archive:
        assert archive.namelist() == [f"{FOLDER}/{name}.png" for name in sorted(SIZES)]
        for name, size in SIZES.items():
            image = Image.open(io.BytesIO(archive.read(f"{FOLDER}/{name}.png")))
            assert (image.mode, image.size) == ("P", size)
            assert image.getpalette() == voc_palette().ravel().tolist()
            assert np.array_equal(image, Image.open(label(data, name)))
    facts = json.loads((data / "out" / "submission.zip.provenance").read_text())
    assert set(facts["inputs"]) == {"../test.json", "../1.json", "../2.json"}


def test_an_archive_of_the_same_labels_is_kept(data):
    output = data / "submission.zip"
    assert submit(data, output).returncode == 0
    outputs = [output, data / "submission.zip.provenance"]
    check_restored(command(data, output), outputs, data)


def test_same_labels_give_the_same_bytes(data, tmp_path_factory):
    assert submit(data, data / "first.zip").returncode == 0
    copy = tmp_path_factory.mktemp("copy") / "data"
    shutil.copytree(data, copy, copy_function=shutil.copyfile)  # with new time stamps
    assert submit(copy, copy / "second.zip").returncode == 0
    assert (data / "first.zip").read_bytes() == (copy / "second.zip").read_bytes()


def test_image_without_a_label_is_named(data):
    write_manifest(data / "2.json", "2010_000004")
    label(data, "2008_000006").unlink()
    message = refusal(data)
    for name in ("2008_000006", "2010_000003"):
        assert f"{name}.png: no prediction" in message
    assert "2 problems; predict these again" in message


def test_all_labels_that_the_server_would_not_take_are_named(data):
    ignored, small, gray = (label(data, name) for name in SIZES)
    write_label(ignored, np.full((5, 7), 255))
    write_label(small, np.zeros((6, 5)))
    write_gray(gray, np.zeros((3, 3), np.uint8))
    message = refusal(data)
    assert f"{ignored}: value 255, labels are 0 to 2" in message
    assert f"{small}: size (5, 6), the photograph has (4, 6)" in message
    assert f"{gray}: mode L, expected a palette PNG" in message
    assert "3 problems" in message


def test_other_colors_values_and_damage_are_found(data):
    recolored, foreign, cut = (label(data, name) for name in SIZES)
    image = Image.open(recolored)
    image.putpalette(voc_palette()[::-1].tobytes())
    image.save(recolored)
    write_label(foreign, np.full((6, 4), K + 1))
    cut.write_bytes(cut.read_bytes()[:60])
    message = refusal(data)
    assert f"{recolored}: mode P, expected a palette PNG in the VOC colours" in message
    assert f"{foreign}: value 3, labels are 0 to 2" in message
    assert f"{cut}: cannot be decoded" in message
