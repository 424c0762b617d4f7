"""Tests of the demo data set: its layout, its promises about classes and masks, determinism."""

import io
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from i2crc.artifacts.stages import STAGES
from i2crc.config.schema import Dataset
from i2crc.data.build_index import class_names
from i2crc.data.demo_objects import BUILDERS, CLASS_NAMES, Part
from i2crc.data.drawn_demo import outline, render_split, schedule, write_demo
from i2crc.data.images import voc_palette
from i2crc.runtime.atomic import digest_file, read_json

COUNTS = {"train": 12, "val": 6}
SCRIPT = Path(__file__).parents[3] / "workflow_scripts" / STAGES["render_demo"].script


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    root = tmp_path_factory.mktemp("demo")
    manifest = write_demo(root / "data", root / "saliency.tar.gz", COUNTS, 96, 3)
    return root, manifest


@pytest.fixture(scope="module")
def scenes():
    return [(classes, scene) for _, classes, scene in render_split("train", 60, 128, 0)]


def read_labels(root: Path) -> dict[str, list[int]]:
    labels = {}
    for split in COUNTS:
        for line in (root / "data" / f"{split}_cls.txt").read_text().splitlines():
            name, *classes = line.split(" ")
            labels[name] = [int(label) for label in classes]
    return labels


def test_same_arguments_give_same_bytes(demo, tmp_path):
    root, manifest = demo
    assert write_demo(tmp_path / "data", tmp_path / "saliency.tar.gz", COUNTS, 96, 3) == manifest
    for name, digest in manifest["files"].items():
        assert digest_file(root / "data" / name) == digest_file(tmp_path / "data" / name) == digest
    archive = (root / "saliency.tar.gz").read_bytes()
    assert (tmp_path / "saliency.tar.gz").read_bytes() == archive


def test_another_seed_gives_other_images(demo, tmp_path):
    _, manifest = demo
    other = write_demo(tmp_path / "data", tmp_path / "saliency.tar.gz", COUNTS, 96, 4)
    images = [name for name in manifest["files"] if name.startswith("JPEGImages/demo_train")]
    assert all(manifest["files"][name] != other["files"][name] for name in images)


def test_layout(demo):
    root, manifest = demo
    labels = read_labels(root)
    assert manifest["count"] == len(labels) == 18
    expected = {"classes.txt", *(f"{split}_cls.txt" for split in COUNTS)}
    for name in labels:
        expected |= {f"JPEGImages/{name}.jpg", f"SegmentationClassAug/{name}.png"}
        with Image.open(root / "data" / "JPEGImages" / f"{name}.jpg") as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (96, 96))
    found = {
        file.relative_to(root / "data").as_posix()
        for file in (root / "data").rglob("*")
        if file.is_file()
    }
    assert found == set(manifest["files"]) == expected


def test_labels_are_the_classes_of_the_mask(demo):
    root, _ = demo
    for name, classes in read_labels(root).items():
        with Image.open(root / "data" / "SegmentationClassAug" / f"{name}.png") as mask:
            assert mask.mode == "P"
            assert mask.getpalette() == voc_palette().ravel().tolist()
            values = np.unique(np.asarray(mask)).tolist()
        assert classes == sorted(classes)
        assert values == [0, *(label + 1 for label in classes), 255]


def test_classes_are_named(demo):
    root, _ = demo
    assert class_names(root / "data", Dataset()) == list(CLASS_NAMES)


def test_archive_holds_a_map_for_every_image(demo):
    root, manifest = demo
    assert manifest["archive"] == {"saliency.tar.gz": digest_file(root / "saliency.tar.gz")}
    with tarfile.open(root / "saliency.tar.gz") as archive:
        members = archive.getmembers()
        assert [member.name for member in members] == [
            f"saliency/{name}.png" for name in read_labels(root)
        ]
        assert {(member.mtime, member.uid, member.gid) for member in members} == {(0, 0, 0)}
        for member in members:
            content = io.BytesIO(archive.extractfile(member).read())
            with Image.open(content) as saliency:
                assert (saliency.mode, saliency.size) == ("L", (96, 96))


@pytest.mark.parametrize("count", [1, 10, 60, 241])
def test_schedule_is_balanced_and_a_third_shows_several_classes(count):
    images = schedule(count, np.random.default_rng(1))
    sizes = [len(classes) for classes in images]
    assert set(sizes) <= {1, 2, 3}
    assert sum(size > 1 for size in sizes) == round(count / 3)
    assert all(classes == sorted(set(classes)) for classes in images)
    uses = np.bincount(np.concatenate(images), minlength=len(CLASS_NAMES))
    assert uses.max() - uses.min() <= 1


def test_every_class_keeps_a_fair_area(scenes):
    for classes, scene in scenes:
        for label in classes:
            assert (scene.mask == label + 1).mean() >= 0.03


def test_border_is_one_pixel_around_objects(scenes):
    for _, scene in scenes:
        objects = (scene.mask > 0) & (scene.mask < 255)
        drawn = Image.fromarray(objects)
        near, wide = (
            np.asarray(drawn.convert("L").filter(ImageFilter.MaxFilter(n))) > 0 for n in (3, 5)
        )
        assert (scene.mask[near & ~objects] == 255).all()
        # Where objects meet, a border pixel can be a step further from what is left of them.
        assert not (scene.mask[~wide] == 255).any()
        assert (scene.mask[wide & ~near] == 255).mean() < 0.05


def test_saliency_is_good_but_flawed(scenes):
    masks = np.stack([scene.mask for _, scene in scenes])
    found = np.stack([scene.saliency for _, scene in scenes]) >= 128
    judged, foreground = masks != 255, masks > 0
    overlap = (found & foreground & judged).sum() / ((found | foreground) & judged).sum()
    assert 0.6 < overlap < 0.8


@pytest.mark.parametrize("build", BUILDERS)
def test_distinctive_part_is_a_minor_share_of_the_object(build):
    body, mark = (
        [Part(np.array(points) / 2.4 + 0.5, colour) for points, colour in shapes]
        for shapes in build((200, 90, 40))
    )
    assert 0.15 < outline(mark, 200).sum() / outline(body + mark, 200).sum() < 0.3


def test_command_line_writes_the_manifest(tmp_path):
    options = {
        "--archive": tmp_path / "maps.tar.gz",
        "--manifest": tmp_path / "data" / "manifest.json",
        "--train": 2,
        "--val": 1,
        "--size": 64,
    }
    command = [str(word) for pair in options.items() for word in pair]
    subprocess.run([sys.executable, str(SCRIPT), *command], check=True, capture_output=True)
    manifest = read_json(tmp_path / "data" / "manifest.json")
    assert manifest["count"] == 3
    for name, digest in manifest["files"].items():
        assert digest_file(tmp_path / "data" / name) == digest
