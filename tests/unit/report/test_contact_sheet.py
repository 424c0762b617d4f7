"""Contact sheets: which images are shown, and what is in which place."""

import base64
import io
import json
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from i2crc.artifacts.provenance import read_provenance
from i2crc.artifacts.stages import STAGES
from i2crc.data.images import voc_palette, write_gray, write_label
from i2crc.data.index import Entry
from i2crc.evaluation.scoring import summarize
from i2crc.report.contact_sheet import SIDE, choose, legend, read_scores
from i2crc.report.tiles import TILE, label_tile, overlay_tile, photo_tile

SCRIPT = Path(__file__).parents[3] / "workflow_scripts" / STAGES["contact_sheet"].script
CLASSES = ["cat", "dog"]


def entry(name: str, classes: list[int] | None = None) -> Entry:
    return Entry(name, f"{name}.jpg", None, classes, 8, 8, "")


@pytest.fixture
def split(tmp_path) -> Path:
    """Three images, the last without mask and classes; saliency, labels, CAMs of two shards."""
    images = []
    for number, classes in enumerate(([0], [0, 1], None)):
        name = f"photo_{number}"
        files = {"image": tmp_path / f"{name}.jpg", "mask": tmp_path / f"{name}_mask.png"}
        Image.new("RGB", (40, 20), (200, 100, 50)).save(files["image"])
        write_label(files["mask"], np.full((20, 40), 1))
        if classes is None:
            files["mask"] = None
        images.append(
            {"id": name, "classes": classes, "width": 40, "height": 20, "sha256": ""}
            | {key: path and str(path) for key, path in files.items()}
        )
        write_gray(tmp_path / f"saliency/{name}.png", np.full((20, 40), 90 + number, np.uint8))
        write_label(tmp_path / f"labels/{name}.png", np.full((20, 40), 2 + 253 * (number == 1)))
        for c in classes or []:
            write_gray(tmp_path / f"cams/{name}_{c}.png", np.full((20, 40), 255 * c, np.uint8))
    index = {"split": "train", "classes": CLASSES, "images": images}
    (tmp_path / "index.json").write_text(json.dumps(index))
    names = [image["id"] for image in images]
    write_manifest(tmp_path, "saliency", "all", [f"{name}.png" for name in names])
    write_manifest(tmp_path, "labels", "all", [f"{name}.png" for name in names])
    write_manifest(tmp_path, "cams", "1-of-2", ["photo_0_0.png", "photo_1_0.png"])
    write_manifest(tmp_path, "cams", "2-of-2", ["photo_1_1.png"])
    rows = "photo_0,0.25,1,0.9,0:1:2:2\nphoto_1,0.75,1,0.1,0:3:4:4\n"
    (tmp_path / "images.csv").write_text(f"id,miou_255_as_background,coverage,miou,counts\n{rows}")
    return tmp_path


def test_a_photograph_without_a_known_pixel_has_no_score(tmp_path):
    """Its mask is 255 everywhere; an IoU of 0 would make it the worst one."""
    counts = np.zeros((2, 2, 3), np.int64)
    counts[0] += 1
    images = [
        (name, one, np.zeros((3, 2), int), np.zeros((4, 3), int))
        for name, one in zip("ab", counts, strict=True)
    ]
    _, table = summarize(images, ["background", "cat"], 10)
    (tmp_path / "images.csv").write_bytes(table)
    assert list(read_scores(tmp_path / "images.csv")) == ["a"]


def write_manifest(folder: Path, stage: str, name: str, files: list[str]) -> None:
    content = {"stage": stage, "folder": stage, "files": dict.fromkeys(files, "")}
    (folder / f"{stage}-{name}.json").write_text(json.dumps(content))


def draw(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, SCRIPT, "--index", "index.json", "--images-csv", "images.csv"]
    command += ["--outputs", "sheet.html"]
    return subprocess.run(
        [*map(str, command), *arguments], cwd=folder, capture_output=True, text=True
    )


def rows(folder: Path) -> list[dict[str, tuple[int, ...]]]:
    """Name -> colour in the middle of each picture, of every photograph of the page."""
    found = []
    for section in (folder / "sheet.html").read_text().split('<section class="photograph">')[1:]:
        pictures = re.findall(r'src="data:image/\w+;base64,([^"]+)".*?<span>(.*?)</span>', section)
        found.append({name: middle(base64.b64decode(content)) for content, name in pictures})
    return found


def middle(content: bytes) -> tuple[int, ...]:
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.size == (SIDE, SIDE // 2)
        return picture.convert("RGB").getpixel((SIDE // 2, SIDE // 4))


def test_pictures_are_in_the_order_of_the_columns(split):
    options = ["--column", "saliency", "saliency-all.json",
               "--column", "cam", "cams-1-of-2.json", "cams-2-of-2.json",
               "--column", "refined label", "labels-all.json"]  # fmt: skip
    done = draw(split, "--kinds", "worst", *options)
    assert done.returncode == 0, done.stderr
    palette = [tuple(color) for color in voc_palette().tolist()]
    first, second = rows(split)
    titles = ["saliency", "cam", "refined label"]
    assert list(first) == ["image", *titles, "ground truth"]
    assert first["image"] == pytest.approx((200, 100, 50), abs=4)
    assert first["saliency"] == pytest.approx((90, 90, 90), abs=2)
    assert second["saliency"] == pytest.approx((91, 91, 91), abs=2)
    blue, red = first["cam"], second["cam"]  # attention 0, and 255 of class 1
    assert blue[2] > red[2] and red[0] > blue[0]
    assert [row["refined label"] for row in (first, second)] == [palette[2], palette[255]]
    assert [row["ground truth"] for row in (first, second)] == [palette[1]] * 2
    page = (split / "sheet.html").read_text()
    assert "mIoU 0.250, coverage 1.000. cat" in page
    for number, name in ((1, "cat"), (2, "dog"), (255, "ignored")):
        assert "#{:02x}{:02x}{:02x}".format(*palette[number]) + f'"></i>{name}<' in page
    facts = read_provenance(split / "sheet.html")
    assert facts["settings"] == {"kinds": ["worst"], "count": 4, "columns": titles}
    assert {"index.json", "images.csv", "cams-2-of-2.json"} <= set(facts["inputs"])


def test_images_without_mask_or_classes_have_fewer_pictures(split):
    done = draw(split, "--column", "cam", "cams-1-of-2.json", "cams-2-of-2.json")
    assert done.returncode == 0, done.stderr
    assert list(rows(split)[2]) == ["image"]


def test_scores_without_rows_give_a_sample(split):
    (split / "images.csv").write_text("id,miou_255_as_background,coverage,miou,counts\n")
    done = draw(split, "--kinds", "best", "--count", "2")
    assert done.returncode == 0, done.stderr
    assert len(rows(split)) == 2
    page = (split / "sheet.html").read_text()
    assert "<h1>A sample of the images of train</h1>" in page
    assert "Ranked" not in page and "worst" not in page


def test_kinds_rank_by_score_and_then_by_id():
    miou = {"a": 0.5, "b": 0.1, "c": 0.9, "d": 0.5, "e": 0.9}
    scores = {name: (value, 1.0) for name, value in miou.items()}
    entries = [entry(name) for name in ("e", "d", "c", "b", "a", "unscored")]

    def chosen(kind: str, count: int) -> str:
        return "".join(found.id for found in choose(entries, scores, kind, count))

    assert chosen("best", 2) == "ce"
    assert chosen("worst", 3) == "bad"
    assert chosen("median", 3) == "adb"
    assert chosen("best", 99) == "ceadb"
    assert len(choose(entries, scores, "sample", 99)) == len(entries)


@given(st.integers(1, 30), st.integers(1, 12))
def test_a_sample_is_spread_over_the_images(images, count):
    entries = [entry(f"{i:02}") for i in range(images)]
    found = [entries.index(one) for one in choose(entries, {}, "worst", count)]
    assert len(found) == min(count, images)
    assert len({after - before for before, after in pairwise(found)}) <= 1


def test_the_legend_names_the_values_without_the_background():
    assert legend(["<cat>", "dog"], [255, 0, 2]) == [("dog", "#008000"), ("ignored", "#e0e0c0")]


def test_a_label_is_shrunk_without_mixing_colors():
    label = np.random.default_rng(0).choice([0, 1, 255], (500, 333)).astype(np.uint8)
    tile = label_tile(label)
    assert (tile.height, tile.width) == (TILE, 107)
    assert {color for _, color in tile.getcolors()} == {(0, 0, 0), (128, 0, 0), (224, 224, 192)}


@pytest.mark.parametrize("shape", [(2, 3000), (3000, 1), (1, 1)])
def test_a_very_long_photograph_has_tiles_of_at_least_a_pixel(shape):
    label, photo = np.zeros(shape, np.uint8), np.zeros((*shape, 3), np.uint8)
    height, width = (max(1, round(length / max(shape) * SIDE)) for length in shape)
    tiles = photo_tile(photo, SIDE), label_tile(label, SIDE), overlay_tile(photo, label, SIDE)
    assert {tile.size for tile in tiles} == {(width, height)}
