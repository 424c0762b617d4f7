"""score.py on random PNGs: against single pixels, its files, its messages, its memory."""

import csv
import json
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from helpers.project import ROOT
from helpers.restored import check_restored
from i2crc.artifacts.stages import STAGES
from i2crc.data.images import write_label
from i2crc.evaluation.bootstrap import read_counts
from i2crc.evaluation.metrics import boundary_counts, boundary_iou, confusion
from i2crc.evaluation.object_sizes import object_counts, object_scores
from i2crc.evaluation.scoring import summarize
from i2crc.runtime.atomic import digest_file
from i2crc.runtime.parallel import map_in_order

SCRIPT = ROOT / "workflow_scripts" / STAGES["score"].script
CLASSES = ["cat", "dog", "cow"]
NAMES = ["background", *CLASSES]


def blocks(rng: np.random.Generator, values: list[int], p: list[float]) -> np.ndarray:
    return rng.choice(values, (5, 6), p=p).astype(np.uint8).repeat(8, 0).repeat(8, 1)


@pytest.fixture
def folder(tmp_path):
    """Masks and labels of six images, one of them without a mask; a manifest for every two."""
    rng = np.random.default_rng(0)
    entries = []
    for number in range(6):
        truth = blocks(rng, [0, 1, 2, 255], [0.4, 0.3, 0.2, 0.1])
        other = blocks(rng, [0, 1, 3, 255], [0.4, 0.3, 0.1, 0.2])
        label = np.where(rng.random(truth.shape) < 0.7, truth, other)
        mask = tmp_path / f"masks/{number}.png"
        if number != 4:
            write_label(mask, truth)
        write_label(tmp_path / f"labels/{number}.png", label)
        entries.append(
            {
                "id": f"{number}",
                "image": "",
                "mask": str(mask) if number != 4 else None,
                "mask_sha256": digest_file(mask) if number != 4 else None,
                "classes": [0, 2],
                "width": 48,
                "height": 40,
                "sha256": "",
            }
        )
    # As in a real index, whose place and time of making are no part of its content.
    index = {"split": "val", "classes": CLASSES, "images": entries, "provenance": {}}
    (tmp_path / "index.json").write_text(json.dumps(index))
    for first in (0, 2, 4):
        write_manifest(tmp_path, [f"{first}.png", f"{first + 1}.png"], f"{first}.json")
    return tmp_path


def write_manifest(folder: Path, names: list[str], name: str) -> None:
    files = {file: digest_file(folder / "labels" / file) for file in names}
    (folder / name).write_text(json.dumps({"folder": "labels", "files": files}))


def command(*options: str, manifests=("0.json", "2.json", "4.json"), **settings) -> list[str]:
    """The script and its arguments, run in the folder."""
    given = ["--index", "index.json", "--manifests", *manifests, "--threads", "2"]
    given += ["--output", "scores/labels.json", "--images-csv", "scores/labels.images.csv"]
    given += ["--settings", json.dumps(settings)]
    return [str(SCRIPT), "--stage", "labels", *given, *options]


def score(folder: Path, *options: str, **facts):
    started = [sys.executable, *command(*options, **facts)]
    return subprocess.run(started, cwd=folder, capture_output=True, text=True)


def scored(folder: Path, *options: str, **facts) -> dict:
    done = score(folder, *options, **facts)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "scores/labels.json").read_text())


def rows(folder: Path) -> dict[str, dict[str, str]]:
    with open(folder / "scores/labels.images.csv", newline="") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


def images(folder: Path, numbers: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """All pixels of known truth of some images, and what was predicted there."""
    truth, label = (
        np.concatenate([np.asarray(Image.open(folder / f"{k}/{n}.png")).ravel() for n in numbers])
        for k in ("masks", "labels")
    )
    return truth[truth != 255], label[truth != 255]


def mean_iou(truth: np.ndarray, label: np.ndarray) -> float:
    values = []
    for c in np.unique(truth):
        either = ((truth == c) | (label == c)).sum()
        values.append(((truth == c) & (label == c)).sum() / either)
    return float(np.mean(values))


def test_scores_equal_plain_loops_over_the_classes(folder):
    found = scored(folder)
    truth, label = images(folder, [0, 1, 2, 3, 5])
    answered = label != 255
    kept, guess = truth[answered], label[answered]
    assert found["miou"] == pytest.approx(mean_iou(kept, guess))
    as_background = np.where(answered, label, 0)
    assert found["miou_255_as_background"] == pytest.approx(mean_iou(truth, as_background))
    assert found["miou_255_as_wrong"] == pytest.approx(mean_iou(truth, label))
    assert found["coverage"] == pytest.approx(answered.mean())
    assert found["pixel_accuracy"] == pytest.approx((kept == guess).mean())
    for c, name in enumerate(NAMES):
        in_truth, in_label = truth == c, as_background == c
        expected = (in_truth & in_label).sum() / (in_truth | in_label).sum()
        assert found["iou_255_as_background"][name] == pytest.approx(expected)
        hits = ((kept == c) & (guess == c)).sum()
        expected = {"recall": (kept == c).sum(), "precision": (guess == c).sum()}
        expected["iou"] = expected["recall"] + expected["precision"] - hits
        for key, whole in expected.items():
            assert list(found[key]) == NAMES
            assert found[key][name] == (pytest.approx(hits / whole) if whole else None)
        for other in range(4):
            assert found["confusion"][c][other] == ((truth == c) & (label == other)).sum()
        assert found["confusion"][c][4] == ((truth == c) & (label == 255)).sum()
    assert found["recall"]["cow"] is None  # predicted, but nowhere in the truth
    assert found["precision"]["cow"] == 0


def test_boundary_iou_sums_the_images(folder):
    found = scored(folder, boundary_width=0.05)
    total = 0
    for number in (0, 1, 2, 3, 5):
        pair = [
            np.asarray(Image.open(folder / f"{kind}/{number}.png")) for kind in ("masks", "labels")
        ]
        total = total + boundary_counts(*pair, 4, 0.05)
    assert found["boundary_iou"] == boundary_iou(total)
    assert scored(folder)["boundary_iou"] != found["boundary_iou"]


def test_objects_of_all_images_are_counted_by_their_size(folder):
    found = scored(folder)
    total = 0
    for number in (0, 1, 2, 3, 5):
        pair = [
            np.asarray(Image.open(folder / f"{kind}/{number}.png")) for kind in ("masks", "labels")
        ]
        total = total + object_counts(*pair)
    assert found["by_object_size"] == object_scores(total)
    assert found["by_object_size"]["small"] == {"objects": 0, "recall": None, "found": None}
    assert scored(folder, "--threads", "1")["by_object_size"] == found["by_object_size"]


def test_rows_of_images(folder):
    found = scored(folder)
    table = rows(folder)
    assert list(table) == ["0", "1", "2", "3", "5"]
    total = 0
    for name, row in table.items():
        truth, label = images(folder, [int(name)])
        answered = label != 255
        mean = mean_iou(truth[answered], label[answered])
        assert float(row["miou"]) == pytest.approx(mean, abs=1e-6)
        mean = mean_iou(truth, np.where(answered, label, 0))
        assert float(row["miou_255_as_background"]) == pytest.approx(mean, abs=1e-6)
        assert float(row["coverage"]) == pytest.approx(answered.mean(), abs=1e-6)
        total = total + read_counts(row["counts"], len(NAMES))
    hits, truth, predicted, ignored = total
    counts = np.array(found["confusion"])
    assert hits.tolist() == np.diag(counts).tolist()
    assert truth.tolist() == counts.sum(axis=1).tolist()
    assert predicted.tolist() == counts[:, :-1].sum(axis=0).tolist()
    assert ignored.tolist() == counts[:, -1].tolist()
    facts = json.loads((folder / "scores/labels.images.csv.provenance").read_text())
    assert facts["sha256"] == digest_file(folder / "scores/labels.images.csv")


@pytest.mark.parametrize("name", ["miou", "miou_255_as_background"])
def test_interval_is_around_the_score_and_the_same_again(folder, name):
    found = scored(folder)
    low, high = found[f"{name}_interval"]
    assert low < found[name] < high
    assert scored(folder, "--threads", "1")[f"{name}_interval"] == [low, high]


def test_provenance_says_what_was_read(folder):
    found = scored(folder, bootstrap=20)["provenance"]
    assert set(found["inputs"]) == {"../index.json", "../0.json", "../2.json", "../4.json"}
    assert (found["script"], found["settings"]["bootstrap"]) == ("score", 20)


def test_key_figures_are_the_last_line_before_the_end(folder):
    found, done = scored(folder), score(folder)
    assert done.stderr.splitlines()[-1].endswith(
        f"labels on val: mIoU {found['miou_255_as_background']:.3f} with 255 as background, "
        f"coverage {found['coverage']:.3f}, mIoU {found['miou']:.3f} with 255 left out"
    )


def test_scores_of_the_same_are_kept(folder):
    scored(folder)
    outputs = [folder / "scores/labels.json", folder / "scores/labels.images.csv"]
    check_restored(command(), outputs, folder)


def test_another_mask_is_scored_again(folder):
    before = scored(folder)
    write_label(folder / "masks/1.png", np.ones((40, 48), np.uint8))
    index = json.loads((folder / "index.json").read_text())
    index["images"][1]["mask_sha256"] = digest_file(folder / "masks/1.png")
    (folder / "index.json").write_text(json.dumps(index))
    assert scored(folder)["miou"] != before["miou"]


def test_images_without_a_mask_are_named(folder):
    found = scored(folder)
    assert (found["images"], found["images_without_mask"]) == (5, ["4"])


def test_without_any_mask_every_score_is_null(folder):
    index = json.loads((folder / "index.json").read_text())
    for entry in index["images"]:
        entry["mask"] = None
    (folder / "index.json").write_text(json.dumps(index))
    found = scored(folder)
    names = ["miou", "miou_interval", "miou_255_as_background", "miou_255_as_wrong"]
    names += ["miou_255_as_background_interval"]
    names += ["coverage", "pixel_accuracy", "boundary_iou"]
    assert {name: found[name] for name in names} == dict.fromkeys(names)
    for name in ("iou", "iou_255_as_background", "precision", "recall"):
        assert found[name] == dict.fromkeys(NAMES)
    nothing = {"objects": 0, "recall": None, "found": None}
    assert found["by_object_size"] == dict.fromkeys(("small", "medium", "large"), nothing)
    assert (found["images"], rows(folder)) == (0, {})


def test_attention_is_scored_as_its_strongest_class(folder):
    names = []
    rng = np.random.default_rng(0)
    for number in range(6):
        for c in (0, 2):
            values = rng.integers(0, 256, (40, 48)).astype(np.uint8)
            names.append(f"{number}_{c}.png")
            Image.fromarray(values).save(folder / "labels" / names[-1])
    write_manifest(folder, names, "cams.json")
    found = scored(folder, "--attention", cam_background=0.6, manifests=["cams.json"])
    truth, guess = [], []
    for number in (0, 1, 2, 3, 5):
        first, second = (
            np.asarray(Image.open(folder / f"labels/{number}_{c}.png")).astype(int) for c in (0, 2)
        )
        strongest = np.where(first >= second, 1, 3)
        guess.append(np.where(np.maximum(first, second) > 153, strongest, 0).ravel())
        truth.append(np.asarray(Image.open(folder / f"masks/{number}.png")).ravel())
    truth, guess = np.concatenate(truth), np.concatenate(guess)
    assert found["miou"] == pytest.approx(mean_iou(truth[truth != 255], guess[truth != 255]))
    assert found["provenance"]["settings"]["cam_background"] == 0.6


def refused(folder: Path, *parts: str) -> None:
    done = score(folder)
    assert done.returncode == 1
    assert all(part in done.stderr for part in parts), done.stderr
    assert "Traceback" not in done.stderr
    assert not list(folder.glob("scores/*")) and not list(folder.glob("scores/.*"))


def test_a_label_of_another_size_is_named(folder):
    write_label(folder / "labels/3.png", np.zeros((3, 4), np.uint8))
    refused(folder, "masks/3.png", "(3, 4)", "(40, 48)")


def test_a_value_that_is_no_label_is_named(folder):
    write_label(folder / "masks/1.png", np.full((40, 48), 7, np.uint8))
    refused(folder, "masks/1.png", "truth value 7, but there are 4 labels")


PIXELS = arrays(np.uint8, (3, 4), elements=st.sampled_from([0, 1, 2, 3, 255]))


@given(st.lists(st.tuples(PIXELS, PIXELS), min_size=1, max_size=4))
def test_counts_of_the_rows_sum_to_the_confusion_matrix(pairs):
    counted = [
        (
            f"{n}",
            confusion(*pair, 4),
            boundary_counts(*pair, 4, 0.02),
            object_counts(*pair),
        )
        for n, pair in enumerate(pairs)
    ]
    result, table = summarize(counted, NAMES, 5)
    found = np.array(result["confusion"])
    rows = csv.DictReader(table.decode().splitlines())
    total = sum(read_counts(row["counts"], 4) for row in rows)
    assert total[1].tolist() == found.sum(axis=1).tolist()
    assert total[2].tolist() == found[:, :-1].sum(axis=0).tolist()
    assert (total[0].tolist(), total[3].tolist()) == (
        np.diag(found).tolist(),
        found[:, -1].tolist(),
    )


def test_few_items_are_under_way_at_a_time():
    begun, lock = [], threading.Lock()

    def work(item: int) -> int:
        with lock:
            begun.append(item)
        time.sleep(0.001 * (item % 3))
        return item * item

    for number, result in enumerate(map_in_order(work, range(40), 2)):
        assert result == number**2
        assert len(begun) <= number + 4
    assert sorted(begun) == list(range(40))


def test_an_error_stops_the_work():
    begun = []

    def work(item: int) -> int:
        begun.append(item)
        return 1 // (item - 3)

    with pytest.raises(ZeroDivisionError):
        list(map_in_order(work, range(1000), 2))
    assert len(begun) < 10


def test_memory_hardly_grows_with_the_images():
    command = [sys.executable, str(ROOT / "tests/helpers/score_memory.py"), "--size", "16"]
    done = subprocess.run(
        [*command, "--images", "200", "1200"], capture_output=True, text=True, check=True
    )
    few, many = map(float, re.findall(r"images: (\S+) MiB", done.stdout))
    # The confusion matrices of 1000 more images alone would be 51 MiB.
    assert 30 < few < many + 2
    assert many - few < 8
