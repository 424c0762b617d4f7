"""Exported labels are read back by the programs that they are for, and are the same pixels."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image
from pycocotools.coco import COCO
from scipy import ndimage
from torchvision.datasets import VOCSegmentation

from i2crc.data.coco import read_coco
from i2crc.data.coco_labels import coco_file, coco_objects
from i2crc.data.images import write_label
from i2crc.data.label_export import EXPORTS, LabelledPhoto, flat_names
from i2crc.data.photographs import find_photographs
from i2crc.data.shapes import draw_mask
from i2crc.data.yolo_labels import yolo_lines
from i2crc.runtime.atomic import digest_file
from i2crc.runtime.errors import FileError

CLASSES = ["cat", 'a "quoted" dog', "Baum: 木"]
LABELS = arrays(
    np.uint8,
    array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12),
    elements=st.sampled_from([0, 0, 1, 1, 1, 2, 3, 255]),
)
# Rows of labels: classes 1 to 3, `.` background, `i` ignored.
DRAWN = {
    "pixel": "1",
    "row": "..... 11111",
    "column": "1. 1. 1.",
    "diagonal": "1... .1.. ..1. ...1",
    "diagonals around a hole": ".1. 1.1 .1.",
    "chequers": "1.1.1 .1.1. 1.1.1",
    "hole": "1111 1..1 1111",
    "holes in a row": "1111111 1.1.1.1 1111111",
    "holes that touch": "1111 1.11 11.1 1111",
    "hole behind a hole": "111111 11.111 1...11 11.1.1 111111",
    "object in a hole": "11111 1...1 1.1.1 1...1 11111",
    "classes in classes": "11111 12221 12321 12221 11111",
    "parts": "1.2.1 1.2.1",
    "ignored": "iii i1i 1ii",
    "no object": "... .i.",
}
# A file system has these ids; a list, a YAML file or another file system might not.
IDS = [
    "a/b", "plain", "a_b", "A_B", "two words", "木/ü.v2", ".hidden", "100%", "line\nbreak", "a,'b'",
]  # fmt: skip


def draw(rows: str) -> np.ndarray:
    """Return the (H, W) uint8 label of drawn rows."""
    values = {".": 0, "1": 1, "2": 2, "3": 3, "i": 255}
    return np.array([[values[sign] for sign in row] for row in rows.split()], np.uint8)


def objects(label: np.ndarray) -> np.ndarray:
    """Return a label whose ignored pixels are background, as COCO and YOLO have it."""
    return np.where(label == 255, 0, label)


def is_one_region(mask: np.ndarray) -> bool:
    return ndimage.label(mask, np.ones((3, 3)))[1] == 1


def random_label(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Return a label of ragged objects with holes and parts."""
    values = np.random.default_rng(seed).normal(size=(height, width))
    smooth = ndimage.gaussian_filter(values, 2)
    return np.digitize(smooth, np.quantile(smooth, [0.5, 0.7, 0.9])).astype(np.uint8)


# COCO


def coco_labels(file) -> dict[str, np.ndarray]:
    """Return the labels of an annotation file, drawn by pycocotools."""
    coco = COCO(file)
    labels = {}
    for image in coco.loadImgs(coco.getImgIds()):
        label = np.zeros((image["height"], image["width"]), np.uint8)
        for one in coco.loadAnns(coco.getAnnIds(image["id"])):
            mask = coco.annToMask(one) == 1
            assert is_one_region(mask) and not label[mask].any()
            assert (one["area"], one["iscrowd"]) == (mask.sum(), 0)
            rows, columns = mask.nonzero()
            left, top, width, height = one["bbox"]
            assert (left, left + width) == (columns.min(), columns.max() + 1)
            assert (top, top + height) == (rows.min(), rows.max() + 1)
            label[mask] = one["category_id"]
        labels[image["file_name"]] = label
    return labels


def coco_of(folder, labels: dict[str, np.ndarray]):
    file = folder / "train.json"
    with coco_file(file, CLASSES) as add:
        for name, label in labels.items():
            add(name, label.shape[::-1], coco_objects(label))
    return file


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("labels")


@given(label=LABELS)
def test_pycocotools_draws_the_label(folder, label):
    (found,) = coco_labels(coco_of(folder, {"one.jpg": label})).values()
    assert np.array_equal(found, objects(label))


def test_a_coco_file_has_every_photograph_and_category(tmp_path):
    labels = {f"{name}.jpg": draw(rows) for name, rows in DRAWN.items()}
    file = coco_of(tmp_path, labels | {"large.jpg": random_label(60, 81)})
    found = coco_labels(file)
    for name, label in labels.items():
        assert np.array_equal(found[name], objects(label)), name
    assert np.array_equal(found["large.jpg"], random_label(60, 81))
    coco = COCO(file)
    assert {one["id"]: one["name"] for one in coco.cats.values()} == dict(enumerate(CLASSES, 1))
    assert sorted(coco.anns) == list(range(1, len(coco.anns) + 1))


def test_a_coco_file_that_fails_is_not_written(tmp_path):
    with pytest.raises(RuntimeError), coco_file(tmp_path / "train.json", CLASSES):
        raise RuntimeError
    assert not list(tmp_path.iterdir())


# YOLO


def yolo_polygons(text: str, classes: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield class and corners (N, 2) of each line, checked by the rules of Ultralytics.

    A line is an integer below the number of classes, then x and y of at least 3 points, all in
    0..1. Lines of the same class and bounding box count as one there.
    """
    seen = set()
    for line in text.splitlines():
        number, *shares = line.split()
        points = np.array(shares, np.float32).reshape(-1, 2)
        assert 0 <= int(number) < classes
        assert len(points) >= 3 and points.min() >= 0 and points.max() <= 1
        box = (number, *points.min(0), *points.max(0))
        assert box not in seen
        seen.add(box)
        yield int(number), np.array(shares, float).reshape(-1, 2)


def fill(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the pixels whose centres are in a polygon, by the even-odd rule."""
    crossings = np.zeros(shape, int)
    x, y = np.arange(shape[1]) + 0.5, np.arange(shape[0]) + 0.5
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
        if rows := [row for row, at in enumerate(y) if (y0 <= at) != (y1 <= at)]:
            at = x0 + (y[rows] - y0) * (x1 - x0) / (y1 - y0)
            crossings[rows] += x[None] < at[:, None]
    return crossings % 2 == 1


def yolo_label(text: str, shape: tuple[int, int]) -> np.ndarray:
    """Return the label of a text file."""
    label = np.zeros(shape, np.uint8)
    for number, points in yolo_polygons(text, len(CLASSES)):
        mask = fill(points * shape[::-1], shape)
        assert is_one_region(mask) and not label[mask].any()
        label[mask] = number + 1
    return label


@given(label=LABELS)
def test_filled_yolo_polygons_are_the_label(label):
    assert np.array_equal(yolo_label(yolo_lines(label), label.shape), objects(label))


@pytest.mark.parametrize("name", DRAWN)
def test_a_drawn_shape_as_yolo_polygons(name):
    label = draw(DRAWN[name])
    text = yolo_lines(label)
    assert np.array_equal(yolo_label(text, label.shape), objects(label))
    assert bool(text) == bool(objects(label).any())


def test_yolo_polygons_of_a_large_label_hold_every_pixel():
    label = np.zeros((41, 9973), np.uint8)
    label[:, :50] = random_label(41, 50)
    label[:, -50:] = random_label(41, 50, seed=1)
    assert np.array_equal(yolo_label(yolo_lines(label), label.shape), label)


def test_yolo_polygons_have_corners_only():
    assert yolo_lines(draw(".... .22. .22. ....")) == "1 0.25 0.25 0.75 0.25 0.75 0.75 0.25 0.75\n"


# Data sets


def make_photos(folder, labels: dict[str, np.ndarray]) -> list[LabelledPhoto]:
    """Write photographs with labels; the ids are no names of files."""
    photos = []
    for number, (image_id, label) in enumerate(labels.items()):
        photo, mask = folder / f"photo{number}.jpg", folder / f"label{number}.png"
        pixels = np.random.default_rng(number).integers(0, 256, (*label.shape, 3), np.uint8)
        Image.fromarray(pixels).save(photo)
        write_label(mask, label)
        photos.append(LabelledPhoto(image_id, photo, digest_file(photo), mask, digest_file(mask)))
    return photos


def labels_of(kind: str, folder: Path) -> dict[str, tuple[np.ndarray, Path]]:
    """Return the labels and the photographs of a data set, by names."""
    if kind == "coco":
        return {
            name[: name.rindex(".")]: (label, folder / "images" / name)
            for name, label in coco_labels(folder / "annotations/train.json").items()
        }
    if kind == "yolo":
        data = yaml.safe_load((folder / "data.yaml").read_text())
        assert data["names"] == dict(enumerate(CLASSES))
        photos = sorted((folder / data["train"]).glob("*.*"))
        texts = {photo: folder / "labels/train" / f"{photo.stem}.txt" for photo in photos}
        assert sorted(texts.values()) == sorted((folder / "labels").rglob("*.*"))
        sizes = {photo: Image.open(photo).size[::-1] for photo in photos}
        return {
            photo.stem: (yolo_label(texts[photo].read_text(), sizes[photo]), photo)
            for photo in photos
        }
    voc = VOCSegmentation(folder, image_set="train", download=False)
    names = (folder / "VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt").read_text().splitlines()
    assert (folder / "VOCdevkit/VOC2012/classes.txt").read_text().splitlines() == CLASSES
    found = {}
    for name, file, (photo, label) in zip(names, voc.images, voc, strict=True):
        assert photo.size == label.size and label.mode == "P"
        found[name] = (np.asarray(label), Path(file))
    return found


@pytest.mark.parametrize("kind", EXPORTS)
def test_every_id_is_in_the_data_set_with_its_label_and_photograph(kind, tmp_path):
    shapes = [draw(rows) for rows in DRAWN.values()]
    labels = {image_id: shapes[number] for number, image_id in enumerate(IDS)}
    photos = make_photos(tmp_path, labels)
    names = list(EXPORTS[kind](tmp_path / "out", CLASSES, photos))
    assert names == (IDS if kind == "coco" else list(flat_names(IDS).values()))
    found = labels_of(kind, tmp_path / "out")
    assert sorted(found) == sorted(names)
    for photo, name in zip(photos, names, strict=True):
        label, file = found[name]
        expected = labels[photo.id] if kind == "voc" else objects(labels[photo.id])
        assert np.array_equal(label, expected), photo.id
        assert file.read_bytes() == photo.photo.read_bytes()


def test_an_exported_coco_data_set_can_be_a_data_set_of_the_pipeline(tmp_path):
    labels = {"a/b": random_label(40, 50), "c": draw(DRAWN["classes in classes"])}
    list(EXPORTS["coco"](tmp_path / "out", CLASSES, make_photos(tmp_path, labels)))
    file = tmp_path / "out/annotations/train.json"
    found = read_coco(file, find_photographs(tmp_path / "out/images"), [])
    assert (found.classes, found.problems) == (CLASSES, [])
    for image_id, label in labels.items():
        one = found.photographs[f"{image_id}.jpg"]
        shapes = [{**shape, "value": CLASSES.index(shape["label"]) + 1} for shape in one.shapes]
        assert np.array_equal(draw_mask(shapes, one.size), label)


@pytest.mark.parametrize("kind", EXPORTS)
@pytest.mark.parametrize("ending", ["png", "gif", "turned.jpg"])
def test_a_photograph_that_others_cannot_read_becomes_an_upright_jpeg(kind, ending, tmp_path):
    label = random_label(30, 20)
    (made,) = make_photos(tmp_path, {"one": label})
    photo = tmp_path / f"photo.{ending}"
    image = Image.new("RGB", (20, 30), "red")
    exif = Image.Exif()
    if ending.startswith("turned"):
        image, exif[0x0112] = image.transpose(Image.Transpose.ROTATE_90), 6
    image.save(photo, exif=exif)
    one = LabelledPhoto("one", photo, digest_file(photo), made.label, made.label_sha256)
    list(EXPORTS[kind](tmp_path / "out", CLASSES, [one]))
    ((found, file),) = labels_of(kind, tmp_path / "out").values()
    assert np.array_equal(found, label)
    is_kept = ending == "png" and kind != "voc"
    assert file.suffix == (".png" if is_kept else ".jpg")
    assert (file.read_bytes() == photo.read_bytes()) == is_kept
    with Image.open(file) as written:
        assert written.size == (20, 30) and written.getexif().get(0x0112, 1) == 1
        assert written.format == ("PNG" if is_kept else "JPEG")
        assert np.abs(np.asarray(written.convert("RGB"), int) - (255, 0, 0)).max() < 8


@pytest.mark.parametrize("kind", EXPORTS)
@pytest.mark.parametrize("what", ["photo", "label"])
def test_what_changed_since_the_labels_were_made_is_named(kind, what, tmp_path):
    photos = make_photos(tmp_path, {"a": draw("1"), "b": draw("2")})
    file = getattr(photos[1], what)
    for problem in ("changed since the labels were made", "missing"):
        Image.new("L", (5, 5)).save(file) if problem != "missing" else file.unlink()
        with pytest.raises(FileError, match=f"{file.name}: {problem}"):
            list(EXPORTS[kind](tmp_path / problem, CLASSES, photos))


def test_flat_names_are_file_names_of_their_own():
    names = flat_names([*IDS, "木" * 200, "木" * 201])
    assert list(names) == [*IDS, "木" * 200, "木" * 201]
    assert len({name.casefold() for name in names.values()}) == len(names)
    assert max(len(name.encode()) for name in names.values()) < 210
    assert [names[one] for one in IDS] == [
        "a_b_3", "plain", "a_b", "A_B_2", "two_words", "木_ü.v2", "_hidden", "100_", "line_break",
        "a__b_",
    ]  # fmt: skip
