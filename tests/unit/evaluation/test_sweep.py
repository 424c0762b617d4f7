"""Threshold sweeps: their points equal labels made and scored one by one."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from helpers.project import ROOT
from helpers.restored import check_restored
from i2crc.artifacts.stages import STAGES
from i2crc.config.schema import PseudoLabels
from i2crc.data.images import read_gray, read_label, write_gray, write_label
from i2crc.evaluation.metrics import confusion, scores
from i2crc.evaluation.sweeps import MIOUS
from i2crc.labels.pseudo_labels import initial_label
from i2crc.runtime.atomic import write_json

SCRIPT = ROOT / "workflow_scripts" / STAGES["sweep"].script
CLASSES = ["cat", "dog", "cow"]
NAMES = ["background", *CLASSES]
# An attention map of `a` has the name of a saliency map, that of `a_0`.
OWN = {"a": [0], "b": [1, 2], "c": [0, 2], "a_0": [1], "none": [], "unmasked": [2]}
MASKED = ("a", "b", "c", "a_0", "none")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Six images with attention and saliency in steps, one of them without a mask."""
    root = tmp_path_factory.mktemp("data")
    draw = np.random.default_rng(0)
    levels = np.arange(0, 256, 17, dtype=np.uint8)
    entries = []
    for name, classes in OWN.items():
        shape = (20, 24)
        for c in classes:
            write_gray(root / "cams" / f"{name}_{c}.png", draw.choice(levels, shape))
        write_gray(root / "saliency" / f"{name}.png", draw.choice(levels, shape))
        values = np.array([0, 255, *(c + 1 for c in classes)], np.uint8)
        mask = root / "masks" / f"{name}.png" if name in MASKED else None
        if mask:
            write_label(mask, draw.choice(values, shape))
        entries.append(
            {"id": name, "image": "", "mask": mask and str(mask), "classes": classes,
             "width": 24, "height": 20, "sha256": ""}
        )  # fmt: skip
    write_index(root / "index.json", entries)
    attention = sorted((root / "cams").iterdir())
    write_manifest(root / "cams-1.json", attention[::2])
    write_manifest(root / "cams-2.json", attention[1::2])
    write_manifest(root / "saliency.json", sorted((root / "saliency").iterdir()))
    return root


def write_index(path: Path, entries: list[dict]) -> None:
    write_json(path, {"split": "train", "classes": CLASSES, "images": entries})


def write_manifest(path: Path, files: list[Path]) -> None:
    folder = files[0].parent.name
    write_json(path, {"folder": folder, "files": {file.name: "" for file in files}})


def command(data: Path, output: Path, *arguments: str, index="index.json", saliency=True) -> list:
    """The script and its arguments."""
    given = [
        SCRIPT, "--index", data / index, "--output", output,
        "--cams", data / "cams-1.json", data / "cams-2.json", *arguments,
    ]  # fmt: skip
    return [*given, "--saliency", data / "saliency.json"] if saliency else given


def sweep(*arguments, **facts):
    """Run the script; returns the finished process and the content of its output."""
    started = [sys.executable, *command(*arguments, **facts)]
    done = subprocess.run(started, capture_output=True, text=True, check=False)
    output = arguments[1]
    return done, json.loads(output.read_text()) if output.exists() else None


def expected_point(data: Path, value: float, label_of) -> dict:
    """The point of a value, of labels made image by image."""
    counts = sum(
        confusion(read_label(data / "masks" / f"{name}.png"), label_of(name), len(NAMES))
        for name in MASKED
    )
    found = scores(counts, NAMES)
    return {"value": value, **{name: found[name] for name in (*MIOUS, "coverage")}}


@pytest.mark.parametrize(
    ("parameter", "given", "tried"),
    [
        ("attention_threshold", ["0.5", "0", "0.3"], [0, 0.3, 0.5]),
        ("conflict_threshold", ["1", "0.6"], [0.6, 0.9, 1]),
        ("object_threshold", ["0.2", "0.2", "0.4"], [0.2, 0.4, 0.7]),
        ("salient_value", ["200", "64"], [32, 64, 200]),
        ("salient_value", [], [32]),
    ],
)
def test_points_equal_the_labels_of_each_value(data, tmp_path, parameter, given, tried):
    configured = {"object_threshold": 0.7}
    done, found = sweep(
        data, tmp_path / "sweeps" / "s.json", "--parameter", parameter, "--values", *given,
        "--settings", json.dumps(configured), "--threads", "2",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr

    def point(value):
        settings = PseudoLabels(**{**configured, parameter: value})

        def label_of(name):
            attention = {c: read_gray(data / "cams" / f"{name}_{c}.png") for c in OWN[name]}
            saliency = read_gray(data / "saliency" / f"{name}.png")
            return initial_label(attention, saliency, OWN[name], settings)

        return expected_point(data, value, label_of)

    assert found["points"] == [point(value) for value in tried]
    own = getattr(PseudoLabels(**configured), parameter)
    assert found["fixed"] == point(own)
    assert (found["parameter"], found["split"], found["images"]) == (parameter, "train", 5)
    assert found["images_without_mask"] == ["unmasked"]


def test_cam_background_needs_no_saliency(data, tmp_path):
    done, found = sweep(
        data, tmp_path / "s.json", "--parameter=cam_background", "--values", "0.5", "0.9",
        "--settings", json.dumps({"cam_background": 0.6}), "--saliency", saliency=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr

    def point(value):
        def label_of(name):
            maps = [read_gray(data / "cams" / f"{name}_{c}.png") for c in OWN[name]]
            maps = np.stack([np.zeros((20, 24)), *maps])
            label = np.array([-1, *OWN[name]])[maps.argmax(axis=0)] + 1
            return np.where(maps.max(axis=0) > value * 255, label, 0)

        return expected_point(data, value, label_of)

    assert found["points"] == [point(0.5), point(0.6), point(0.9)]
    assert found["fixed"] == point(0.6)
    for name in MIOUS:
        assert found["oracle"][name][name] == max(p[name] for p in found["points"])
    assert list(found)[-1] == "provenance"
    inputs = {Path(name).name for name in found["provenance"]["inputs"]}
    assert inputs == {"index.json", "cams-1.json", "cams-2.json"}
    assert found["provenance"]["settings"]["configured"] == {"cam_background": 0.6}


def test_a_sweep_of_the_same_is_kept(data, tmp_path):
    given = (data, tmp_path / "s.json", "--parameter=salient_value", "--values", "8", "16")
    done, found = sweep(*given)
    fixed, best = found["fixed"], found["oracle"]["miou_255_as_background"]
    assert done.stderr.splitlines()[-1].endswith(
        f"3 values, mIoU {fixed['miou_255_as_background']:.3f} with 255 as background, "
        f"coverage {fixed['coverage']:.3f} at 32 as configured; "
        f"{best['miou_255_as_background']:.3f}, coverage {best['coverage']:.3f} "
        f"at the best value {best['value']}"
    )
    check_restored(command(*given), [tmp_path / "s.json"], tmp_path)


def test_without_masks_all_scores_are_null(data, tmp_path):
    entries = json.loads((data / "index.json").read_text())["images"]
    write_index(data / "unmasked.json", [{**entry, "mask": None} for entry in entries])
    done, found = sweep(
        data, tmp_path / "s.json", "--parameter=salient_value", "--values=8", index="unmasked.json"
    )
    assert done.returncode == 0, done.stderr
    null = dict.fromkeys((*MIOUS, "coverage"))
    assert found["points"] == [{"value": 8, **null}, {"value": 32, **null}]
    assert (found["images"], found["fixed"], found["oracle"]) == (0, None, None)
    assert found["images_without_mask"] == list(OWN)


def test_mask_of_another_size_is_named(data, tmp_path):
    entries = json.loads((data / "index.json").read_text())["images"]
    mask = tmp_path / "small.png"
    write_label(mask, np.zeros((3, 3)))
    write_index(data / "small.json", [{**entries[0], "mask": str(mask)}])
    done, found = sweep(
        data, tmp_path / "s.json", "--parameter=cam_background", "--values=1", index="small.json"
    )
    assert (done.returncode, found) == (1, None)
    assert str(mask) in done.stderr.splitlines()[-1]


def test_whole_numbers_stay_whole(data, tmp_path):
    _, found = sweep(data, tmp_path / "s.json", "--parameter=salient_value", "--values", "64", "8")
    values = [point["value"] for point in found["points"]]
    assert values == [8, 32, 64]
    assert all(isinstance(value, int) for value in values)


def test_of_equal_points_the_lowest_value_is_the_oracle(data, tmp_path):
    # The attention is in steps of 1/15.
    values = ["--values", "0.61", "0.62", "0.63"]
    settings = ["--settings", json.dumps({"cam_background": 0.64})]
    given = ("--parameter=cam_background", *values, *settings)
    _, found = sweep(data, tmp_path / "s.json", *given)
    assert {point["value"] for point in found["oracle"].values()} == {0.61}
