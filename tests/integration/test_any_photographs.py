"""From tagged photographs to a model that segments new ones: the three commands of the README."""

import csv
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import VOCSegmentation

from helpers.project import Project, run
from helpers.settings import read_config
from i2crc.artifacts.manifest import read_manifests
from i2crc.config.choices import nested
from i2crc.config.load import load_config
from i2crc.data.drawn_demo import render_scene
from i2crc.data.images import read_label, read_photo
from i2crc.data.index import Entry, read_index
from i2crc.data.listing import list_dataset
from i2crc.data.recognise import recognise

CLASSES = ['Kühe & "Co"', "it's a mug"]
# Eight photographs of each class: in sub-folders, of equal stems, with odd names, of any kind.
NAMES = [
    "IMG 1.jpg", "IMG_2.JPEG", "IMG_2.png", "zoo/IMG_2.jpg", "0003.webp", "#4 {x}.tif", "ü.jpg",
    "large.jpg",
]  # fmt: skip
IDS = ["IMG 1", "IMG_2.JPEG", "IMG_2.png", "zoo/IMG_2", "0003", "#4 {x}", "ü", "large"]
NONE = ["none 1.jpg", "none 2.png", "deep/none 3.jpg"]
SIDE, LARGE = 64, (640, 400)


def save(path: Path, classes: list[int], seed: int) -> None:
    """Write a drawn photograph; one called `ü` is stored rotated, one called `large` is larger."""
    size = (SIDE, SIDE - 16)
    scene = Image.fromarray(render_scene(classes, SIDE, np.random.default_rng(seed)).image)
    image, exif = scene.crop((0, 0, *size)), Image.Exif()
    if path.stem == "large":
        image = image.resize(LARGE)
    if path.stem == "ü":
        exif[0x0112] = 6
        image = image.transpose(Image.Transpose.ROTATE_90)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, exif=exif)


def draw_folders(folder: Path) -> None:
    """Draw photographs into a folder for each class, and some of nothing into `_none`."""
    for c, name in enumerate(CLASSES):
        for number, file in enumerate(NAMES):
            save(folder / name / file, [c], 10 * c + number)
    for number, file in enumerate(NONE):
        save(folder / "_none" / file, [], 100 + number)


def i2crc(folder: Path, *words: str | Path):
    return run([sys.executable, "-m", "i2crc.cli.main", *words], folder)


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    """A project whose experiment `my_animals` learnt from a folder of photographs alone."""
    project = Project.new(tmp_path_factory.mktemp("any") / "project")
    draw_folders(project.folder / "my photos")
    (project.folder / "my photos" / "Thumbs.db").touch()
    made = i2crc(project.folder, "new", "my photos", "--output", "my animals.yaml")
    assert (made.returncode, made.stderr) == (0, ""), made.stdout + made.stderr
    (project.folder / "said.txt").write_text(made.stdout)
    # A few steps only: nothing here asks how good the masks are.
    short = {"classifier": {"epochs": 2}, "segmentation": {"iterations": 6}}
    settings = {"dataset": {"max_side": 128}, **short}
    done = project.snakemake("scores", "--configfile", "my animals.yaml", settings=settings)
    assert done.returncode == 0, done.stdout + done.stderr
    project.results = project.folder / "results/my_animals"
    return project


def entries(project: Project) -> dict[str, Entry]:
    index = read_index(project.results / "data/train.json")
    assert index.classes == CLASSES
    return {entry.id: entry for entry in index.images}


def test_what_is_said_before_a_run(project):
    said = (project.folder / "said.txt").read_text()
    assert "19 photographs (19 train)" in said
    assert f"{CLASSES[0]} (8), {CLASSES[1]} (8)" in said
    for stage in ("saliency maps", "train the classifier", "train the final segmentation network"):
        assert re.search(rf"^  {stage} +\d+ (s|min)$", said, re.MULTILINE), said
    assert re.search(r"^  all +\d+ (s|min)$", said, re.MULTILINE)
    assert re.search(r"^  disk at the end, results/my_animals +\d+ MB$", said, re.MULTILINE)
    command = said.splitlines()[-1].strip()
    assert command == "snakemake --cores all --configfile 'my animals.yaml'"
    config = read_config(project.folder / "my animals.yaml")
    assert (config.experiment, config.dataset.root) == ("my_animals", "my photos")
    assert config.dataset.splits == ["train"] and config.shards == 1


def test_every_photograph_is_found_with_its_class(project):
    found = {name: entry.classes for name, entry in entries(project).items()}
    expected = {f"{name}/{i}": [c] for c, name in enumerate(CLASSES) for i in IDS}
    assert found == expected | {f"_none/{Path(name).with_suffix('')}": [] for name in NONE}


def test_training_labels_have_the_size_of_their_photographs(project):
    labels = read_manifests([project.results / "labels/refined/1-of-1.json"])
    saliency = read_manifests([project.results / "saliency/1-of-1.json"])
    for name, entry in entries(project).items():
        photograph = read_photo(project.folder / entry.photograph.image)
        label = read_label(labels[f"{name}.png"][0])
        assert label.shape[::-1] == photograph.size == entry.own_size
        assert f"{name}.png" in saliency
        assert set(np.unique(label)) <= {0, 255, *(c + 1 for c in entry.classes)}
        if not entry.classes:
            assert not label.any()
    large = entries(project)[f"{CLASSES[0]}/large"]
    assert (large.own_size, large.size) == (LARGE, (128, 80))


def test_a_run_without_validation_says_so(project):
    table = (project.results / "scores/table.md").read_text()
    assert "**nothing was scored on val" in table
    assert "No stage is scored: none of its photographs" in table and "|" not in table


def test_new_photographs_are_segmented_with_the_model_file_alone(project, tmp_path):
    save(tmp_path / "new/a b.jpg", [0], 200)
    save(tmp_path / "new/trip/ü.jpg", [1], 201)
    save(tmp_path / "new/large.png", [0], 202)
    model = (project.results / "model.safetensors").rename(tmp_path / "model.safetensors")
    done = i2crc(tmp_path, "segment", model, "new", "--output", "segmented")
    model.rename(project.results / "model.safetensors")
    assert done.returncode == 0, done.stdout + done.stderr
    sizes = {"a b": (SIDE, SIDE - 16), "trip/ü": (SIDE, SIDE - 16), "large": LARGE}
    for name, size in sizes.items():
        with Image.open(tmp_path / "segmented" / f"{name}.png") as mask:
            assert (mask.mode, mask.size) == ("P", size)
            assert set(np.unique(mask)) <= {0, 1, 2}
        assert (tmp_path / "segmented" / f"{name}_overlay.jpg").is_file()


def test_training_labels_are_exported_with_their_photographs(project, tmp_path):
    """As VOC, whose reader pairs photographs and labels by flat names and ignores EXIF data."""
    done = i2crc(tmp_path, "export", project.results, "--labels", "voc", "--output", "voc")
    assert done.returncode == 0, done.stdout + done.stderr
    with open(tmp_path / "voc/names.csv", newline="") as file:
        ids = {row["name"]: row["id"] for row in csv.DictReader(file)}
    found = VOCSegmentation(tmp_path / "voc", image_set="train", download=False)
    names = [Path(file).stem for file in found.images]
    assert sorted(ids[name] for name in names) == sorted(entries(project))
    labels = read_manifests([project.results / "labels/refined/1-of-1.json"])
    for name, (photo, label) in zip(names, found, strict=True):
        expected = read_label(labels[f"{ids[name]}.png"][0])
        assert photo.size == label.size == entries(project)[ids[name]].own_size
        assert np.array_equal(label, expected)


def test_a_label_is_explained_back_to_its_photograph(project):
    label = project.results / "labels/refined/images" / CLASSES[0] / "zoo/IMG_2.png"
    done = i2crc(project.folder, "explain", label)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"my photos/{CLASSES[0]}/zoo/IMG_2.jpg. It is unchanged." in done.stdout


def test_a_table_of_odd_names_gives_a_plan(tmp_path):
    project = Project.new(tmp_path / "project")
    photos = project.folder / "photos"
    for number, name in enumerate(NAMES):
        save(photos / name, [number % 2], number)
    save(photos / "nothing.jpg", [], 99)
    rows = [f'"{name}";"{CLASSES[number % 2].replace(chr(34), chr(34) * 2)}"'
            for number, name in enumerate(NAMES)]  # fmt: skip
    table = "\n".join(["file;labels", *rows, '"nothing.jpg";"_none"', ""])
    (photos / "labels.csv").write_text(table, encoding="utf-8-sig")
    settings = nested(recognise(photos).choices)
    assert settings["dataset"]["format"] == "csv"
    (listed,) = list_dataset(photos, load_config(settings, "").dataset).splits.values()
    expected = {name: [number % 2] for number, name in enumerate(IDS)} | {"nothing": []}
    assert {row.id: row.classes for row in listed} == expected
    planned = project.planned(settings=settings | {"experiment": "mine"})
    assert {"list_data", "prepare_data", "compute_saliency", "pack_model"} <= planned
