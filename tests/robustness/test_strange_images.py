"""A folder of strange but good images, under names that would break a shell, through all stages."""

import csv
import json

import pytest
from PIL import Image

from helpers.folders import IMAGES, TRAIN, VAL, write_folder
from helpers.project import Project
from i2crc.data.images import read_photo


@pytest.fixture(scope="module")
def strange(tmp_path_factory) -> Project:
    project = Project.new(tmp_path_factory.mktemp("strange") / "project")
    write_folder(project.folder / "my data")
    folders = {"root": "my data", "masks": "masks"}
    lists = {"train_list": "train.csv", "val_list": "val.csv"}
    project.before = set(project.folder.rglob("*"))
    sheets = [f"results/demo/report/sheets/{kind}.png" for kind in ("train_worst", "val_best")]
    settings = {"dataset": folders | lists}
    done = project.snakemake("scores", *sheets, settings=settings)
    assert done.returncode == 0, done.stdout + done.stderr
    return project


@pytest.mark.parametrize(
    ("folder", "split", "names"),
    [
        ("saliency", "train", "{id}.png"),
        ("cams", "train", "{id}_{label}.png"),
        ("labels/initial", "train", "{id}.png"),
        ("labels/refined", "train", "{id}.png"),
        ("predictions/initial/train", "train", "{id}.png"),
        ("predictions/final/val", "val", "{id}.png"),
        ("crf/initial/train", "train", "{id}.png"),
        ("crf/final/val", "val", "{id}.png"),
    ],
)
def test_every_stage_made_its_file_of_every_image(strange, folder, split, names):
    manifest = strange.results / folder / "1-of-1.json"
    if folder == "saliency":
        manifest = strange.results / "saliency/manifest.json"
    content = json.loads(manifest.read_text())
    for image_id in {"train": TRAIN, "val": VAL}[split]:
        label = list(IMAGES).index(image_id) % 2
        name = names.replace("{id}", image_id).replace("{label}", str(label))
        assert name in content["files"]
        with Image.open(manifest.parent / content["folder"] / name) as image:
            photo = read_photo(strange.folder / "my data/JPEGImages" / f"{image_id}.jpg")
            assert image.size == photo.size


def test_every_image_is_scored(strange):
    for stage, images in (("cam", TRAIN), ("refined_labels", TRAIN), ("val_crf", VAL)):
        with open(strange.results / f"scores/{stage}.images.csv", newline="") as file:
            assert {row["id"] for row in csv.DictReader(file)} == set(images)


def test_nothing_was_made_elsewhere(strange):
    new = set(strange.folder.rglob("*")) - strange.before
    made = {path.relative_to(strange.folder) for path in new if "__pycache__" not in path.parts}
    assert {path for path in made if path.parts[0] not in ("results", ".snakemake")} == set()
    assert not {path for path in made if path.name in ("x", "y", "z", "v")}
