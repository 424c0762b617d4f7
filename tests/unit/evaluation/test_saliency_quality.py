"""saliency_quality.py on small PNGs, against a count of single pixels."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from helpers.project import ROOT
from helpers.restored import check_restored
from i2crc.artifacts.stages import STAGES
from i2crc.data.images import write_gray, write_label
from i2crc.evaluation.saliency_quality import count_pixels

SCRIPT = ROOT / "workflow_scripts" / STAGES["saliency_quality"].script

COMMAND = [
    SCRIPT, "--index", "index.json", "--threads", "2", "--threshold", "0.5",
    "--saliency", "manifest.json", "--output", "quality/saliency.json",
]  # fmt: skip


def run(folder: Path, truths: list[np.ndarray | None], maps: list[np.ndarray], *options: str):
    """The finished process; `truths` None: an image without a mask."""
    entries = []
    for number, (truth, saliency) in enumerate(zip(truths, maps, strict=True)):
        mask = folder / f"masks/{number}.png"
        if truth is not None:
            write_label(mask, truth)
        write_gray(folder / f"maps/{number}.png", saliency)
        height, width = saliency.shape
        facts = {"image": "", "classes": [0], "width": width, "height": height, "sha256": ""}
        entries.append({"id": f"{number}", "mask": None if truth is None else str(mask), **facts})
    index = {"split": "train", "classes": ["cat"], "images": entries}
    files = {f"{number}.png": "" for number in range(len(maps))}
    (folder / "index.json").write_text(json.dumps(index))
    (folder / "manifest.json").write_text(json.dumps({"folder": "maps", "files": files}))
    started = [sys.executable, *COMMAND, *options]
    return subprocess.run(started, cwd=folder, capture_output=True, text=True)


def quality(folder: Path, *arguments) -> dict:
    done = run(folder, *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "quality/saliency.json").read_text())


def image(*rows: list[int]) -> np.ndarray:
    return np.array(rows, np.uint8)


def test_scores_are_of_all_pixels_and_the_error_of_each_image(tmp_path):
    truths = [image([0, 1, 1, 255]), image([0, 0], [0, 3]), None]
    maps = [image([255, 255, 0, 255]), image([0, 51], [0, 255]), image([9])]
    found = quality(tmp_path, truths, maps, "--threshold", "0.2")
    # Salient: one true and one false pixel; then one true and one false again.
    assert found["iou"] == pytest.approx(2 / 5)
    assert (found["precision"], found["recall"]) == pytest.approx((2 / 4, 2 / 3))
    assert found["mae"] == pytest.approx((2 / 3 + 0.2 / 4) / 2)
    assert (found["split"], found["images"], found["threshold"]) == ("train", 2, 0.2)
    assert found["images_without_mask"] == ["2"]
    assert set(found["provenance"]["inputs"]) == {"../index.json", "../manifest.json"}


def test_the_quality_of_the_same_is_kept(tmp_path):
    done = run(tmp_path, [image([0, 1, 1, 255])], [image([255, 255, 0, 255])])
    assert done.stderr.splitlines()[-1].endswith(
        "saliency on train: IoU 0.333, mean absolute error 0.667"
    )
    check_restored(COMMAND, [tmp_path / "quality/saliency.json"], tmp_path)


def test_without_a_mask_there_is_no_score(tmp_path):
    found = quality(tmp_path, [None], [image([9])])
    assert [found[name] for name in ("iou", "precision", "recall", "mae")] == [None] * 4
    assert found["images"] == 0


def test_an_image_of_unknown_truth_alone_does_not_count(tmp_path):
    found = quality(tmp_path, [image([255]), image([1])], [image([0]), image([255])])
    assert (found["iou"], found["mae"], found["images"]) == (1, 0, 2)


def test_without_foreground_in_any_mask_there_is_no_iou(tmp_path):
    found = quality(tmp_path, [image([0, 0])], [image([255, 0])])
    assert [found[name] for name in ("iou", "precision", "recall", "mae")] == [None] * 3 + [0.5]


def test_a_map_of_another_size_is_named(tmp_path):
    done = run(tmp_path, [image([0, 1])], [image([0])])
    assert done.returncode == 1
    assert "masks/0.png: does not fit what was made of 0: size (1, 1), the grou" in done.stderr


@given(
    arrays(np.uint8, (3, 4), elements=st.sampled_from([0, 50, 51, 127, 128, 255])),
    arrays(np.uint8, (3, 4), elements=st.sampled_from([0, 1, 7, 255])),
    st.sampled_from([0.0, 0.2, 0.5, 1.0]),
)
def test_counts_equal_single_pixels(saliency, truth, threshold):
    pairs = zip(saliency.ravel().tolist(), truth.ravel().tolist(), strict=True)
    known = [(value, true != 0) for value, true in pairs if true != 255]
    counts, error = count_pixels(saliency, truth, threshold)
    salient = [(value >= threshold * 255, true) for value, true in known]
    found = [[salient.count((pair, true)) for pair in (False, True)] for true in (False, True)]
    assert counts[:, :2].tolist() == found
    assert not counts[:, 2].any()
    errors = [abs(value / 255 - true) for value, true in known]
    assert error == pytest.approx(sum(errors) / len(errors) if errors else np.nan, nan_ok=True)
