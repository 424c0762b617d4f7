"""A folder of strange but good images, under names that would break a shell, through all stages."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from i2crc.data.images import read_photo, write_gray, write_label
from helpers.project import Project

SIZE = (40, 32)
CLASSES = ["cat", "dining table"]
# Id -> how its photograph is stored.
TRAIN = {
    "$(touch x)": "JPEG",
    "; touch y #": "grey",
    "a b 'c' \"d\"": "CMYK",
    "-rf": "RGBA",
    "*.1.2": "16 bit",
    "\u00e9": "rotated",
    "e\u0301, `touch z`": "PNG",
    "\u732b {shard} %s \\n": "palette",
    "1x1": "tiny",
}
VAL = {"val $(touch v)": "JPEG", "-val": "grey", "val 1x1": "tiny", "val \u00e9": "rotated"}
IMAGES = TRAIN | VAL


def save_photo(path: Path, kind: str, pixels: np.ndarray) -> None:
    image = Image.fromarray(pixels)
    options = {}
    if kind == "tiny":
        image = image.crop((0, 0, 1, 1))
    elif kind in ("grey", "CMYK", "RGBA", "palette"):
        image = image.convert({"grey": "L", "palette": "P"}.get(kind, kind))
    elif kind == "16 bit":
        image = Image.fromarray(pixels[:, :, 0].astype(np.uint16) * 257)
    elif kind == "rotated":
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = 6
        image = image.transpose(Image.Transpose.ROTATE_90)
    kind = "JPEG" if kind in ("JPEG", "grey", "CMYK", "rotated") else "PNG"
    image.save(path, kind, **options)


def write_folder(root: Path) -> None:
    """Photographs with a bright box each, masks and saliency maps of it, lists as CSV."""
    (root / "JPEGImages").mkdir(parents=True)
    for number, (name, kind) in enumerate(IMAGES.items()):
        pixels = np.random.default_rng(number).integers(0, 99, (*SIZE[::-1], 3), dtype=np.uint8)
        box = np.zeros(SIZE[::-1], np.uint8)
        box[:16, :20] = 1
        pixels[box > 0] += 150
        photo = root / "JPEGImages" / f"{name}.jpg"
        save_photo(photo, kind, pixels)
        width, height = read_photo(photo).size
        box = box[:height, :width]
        write_label(root / "masks" / f"{name}.png", box * (1 + number % 2))
        write_gray(root / "saliency" / f"{name}.png", box * 255)
    (root / "classes.txt").write_text("\n".join(CLASSES))
    for split, names in (("train", TRAIN), ("val", VAL)):
        with open(root / f"{split}.csv", "w", newline="") as file:
            rows = csv.writer(file)
            rows.writerows([n, CLASSES[list(IMAGES).index(n) % 2]] for n in names)


@pytest.fixture(scope="module")
def strange(tmp_path_factory) -> Project:
    project = Project.new(tmp_path_factory.mktemp("strange") / "project")
    write_folder(project.folder / "my data")
    folders = {"root": "my data", "masks": "masks"}
    lists = {"train_list": "train.csv", "val_list": "val.csv"}
    project.before = set(project.folder.rglob("*"))
    done = project.snakemake(settings={"dataset": folders | lists, "shards": 1})
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
