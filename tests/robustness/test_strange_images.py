"""A folder of strange but good images, under names that would break a shell, through all stages."""

import csv
import json

import pytest
from PIL import Image

from helpers.folders import IMAGES, TRAIN, VAL, write_folder
from helpers.project import Project
from i2crc.data.images import read_photo

pytestmark = pytest.mark.exhaustive
# The large photographs alone are above `max_side`.
FOLDERS = {"root": "my data", "masks": "masks", "max_side": 48}
SETTINGS = {"dataset": {**FOLDERS, "train_list": "train.csv", "val_list": "val.csv"}}


@pytest.fixture(scope="module")
def strange(tmp_path_factory) -> Project:
    """A project on strange images with its first labels."""
    project = Project.new(tmp_path_factory.mktemp("strange") / "project")
    write_folder(project.folder / "my data")
    project.before = set(project.folder.rglob("*"))
    done = project.snakemake("pseudo_labels", settings=SETTINGS)
    assert done.returncode == 0, done.stdout + done.stderr
    return project


@pytest.fixture(scope="module")
def whole(strange) -> Project:
    """The same to the end."""
    sheets = [f"results/demo/report/sheets/{kind}.html" for kind in ("train_worst", "val_best")]
    done = strange.snakemake("scores", *sheets, settings=SETTINGS)
    assert done.returncode == 0, done.stdout + done.stderr
    return strange


def check_images(project: Project, folder: str, split: str, names: str) -> None:
    """Every image of the split has its file. Labels have the size of the photograph itself."""
    manifest = project.results / folder / "1-of-1.json"
    if folder == "saliency":
        manifest = project.results / "saliency/manifest.json"
    content = json.loads(manifest.read_text())
    for image_id in {"train": TRAIN, "val": VAL}[split]:
        label = list(IMAGES).index(image_id) % 2
        name = names.replace("{id}", image_id).replace("{label}", str(label))
        assert name in content["files"]
        with Image.open(manifest.parent / content["folder"] / name) as image:
            photo = read_photo(project.folder / "my data/JPEGImages" / f"{image_id}.jpg")
            is_map = folder in ("saliency", "cams")
            assert image.size == ((48, 38) if is_map and photo.size == (120, 96) else photo.size)


@pytest.mark.parametrize(
    ("folder", "names"),
    [("saliency", "{id}.png"), ("cams", "{id}_{label}.png"), ("labels/initial", "{id}.png")],
)
def test_the_first_stages_made_their_file_of_every_image(strange, folder, names):
    check_images(strange, folder, "train", names)


@pytest.mark.parametrize(
    ("folder", "split"),
    [
        ("labels/refined", "train"),
        ("predictions/initial/train", "train"),
        ("predictions/final/val", "val"),
        ("crf/initial/train", "train"),
        ("crf/final/val", "val"),
    ],
)
def test_the_other_stages_made_their_file_of_every_image(whole, folder, split):
    check_images(whole, folder, split, "{id}.png")


def test_every_image_is_scored(whole):
    for stage, images in (("cam", TRAIN), ("refined_labels", TRAIN), ("val_crf", VAL)):
        with open(whole.results / f"scores/{stage}.images.csv", newline="") as file:
            assert {row["id"] for row in csv.DictReader(file)} == set(images)


def test_nothing_was_made_elsewhere(strange):
    new = set(strange.folder.rglob("*")) - strange.before
    made = {path.relative_to(strange.folder) for path in new if "__pycache__" not in path.parts}
    assert {path for path in made if path.parts[0] not in ("results", ".snakemake")} == set()
    assert not {path for path in made if path.name in ("x", "y", "z", "v")}
