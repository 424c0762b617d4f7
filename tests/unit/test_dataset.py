"""Label lists, class names, indexes and shards."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from i2crc.config import Dataset
from i2crc.dataset import (
    build_index,
    class_names,
    classes_in_mask,
    index_json,
    read_index,
    read_label_list,
    shard_of,
)
from i2crc.files import InputError, digest_file, write_json
from i2crc.images import write_label

CLASSES = ["cat", "dog", "cow"]


@pytest.fixture
def root(tmp_path):
    """Photographs a to d of 5 x 4 pixels; all but d have a mask that shows class 2 and 255."""
    (tmp_path / "JPEGImages").mkdir()
    mask = np.zeros((4, 5), np.uint8)
    mask[1:3], mask[3] = 3, 255
    for name in "abcd":
        Image.new("RGB", (5, 4)).save(tmp_path / "JPEGImages" / f"{name}.jpg")
        if name != "d":
            write_label(tmp_path / "SegmentationClassAug" / f"{name}.png", mask)
    (tmp_path / "train_cls.txt").write_text("a 0\nb 1 2\nc 2\n")
    (tmp_path / "val_cls.txt").write_text("d\n")
    return tmp_path


def listed(tmp_path, content: bytes):
    file = tmp_path / "list.txt"
    file.write_bytes(content)
    return read_label_list(file, len(CLASSES))


@pytest.mark.parametrize(
    "content",
    [
        b"a 0\nb 1 2\nc\n",
        b"a 0\r\nb 1 2\r\nc\r\n",
        b"\xef\xbb\xbfa 0\nb 1 2\nc\n",
        b"a 0\nb 1 2\nc",
        b"\na  0 \n\n b\t2 1 2\nc \n\n",
    ],
    ids=["plain", "CRLF", "BOM", "no final newline", "blanks"],
)
def test_list_is_read(tmp_path, content):
    assert listed(tmp_path, content) == [("a", [0]), ("b", [1, 2]), ("c", None)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a 0\nb 1\na 2\n", r"list\.txt:3: image `a` is listed twice"),
        (b"a 0\nb 3\n", r"list\.txt:2: `3` is no class; classes are 0 to 2"),
        (b"a -1\n", r"list\.txt:1: `-1` is no class"),
        (b"a cat\n", r"list\.txt:1: `cat` is no class"),
        (b"", r"list\.txt: lists no image"),
        (b" \n\n", r"list\.txt: lists no image"),
        ("a 0\n".encode("utf-16"), r"list\.txt"),
    ],
)
def test_bad_list_is_named_with_its_line(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        listed(tmp_path, content)


def test_all_bad_lines_are_told(tmp_path):
    with pytest.raises(InputError) as caught:
        listed(tmp_path, b"a 0\na 1\nb 7\nc x\n")
    assert [line.split(":")[1] for line in str(caught.value).splitlines()] == ["2", "3", "4"]


def test_missing_list_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.txt: cannot be read"):
        read_label_list(tmp_path / "none.txt", 3)


def test_index_holds_what_later_stages_need(root):
    index = build_index("train", root, Dataset(), CLASSES, workers=2)
    assert (index.split, index.classes) == ("train", CLASSES)
    assert [(entry.id, entry.classes) for entry in index.images] == [
        ("a", [0]), ("b", [1, 2]), ("c", [2]),
    ]  # fmt: skip
    first = index.images[0]
    photo = root / "JPEGImages" / "a.jpg"
    assert (first.image, first.sha256) == (str(photo), digest_file(photo))
    assert (first.width, first.height) == (5, 4)
    assert first.mask == str(root / "SegmentationClassAug" / "a.png")


def test_validation_needs_neither_classes_nor_mask(root):
    (entry,) = build_index("val", root, Dataset(), CLASSES, workers=1).images
    assert (entry.id, entry.classes, entry.mask) == ("d", None, None)


def test_index_survives_json(root, tmp_path):
    index = build_index("train", root, Dataset(), CLASSES, workers=1)
    write_json(tmp_path / "index.json", index_json(index))
    assert read_index(tmp_path / "index.json") == index


@pytest.mark.parametrize("content", ["{}", '{"images": [{"id": "a"}]}', "[]"])
def test_file_that_is_no_index_is_named(tmp_path, content):
    (tmp_path / "index.json").write_text(content)
    with pytest.raises(InputError, match=r"index\.json"):
        read_index(tmp_path / "index.json")


def test_size_is_that_of_the_upright_photo(root):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (5, 4)).save(root / "JPEGImages" / "a.jpg", exif=exif)
    entry = build_index("train", root, Dataset(), CLASSES, workers=1).images[0]
    assert (entry.width, entry.height) == (4, 5)


def test_replaced_photo_changes_its_entry_alone(root):
    before = build_index("train", root, Dataset(), CLASSES, workers=1).images
    Image.new("RGB", (5, 4), (9, 9, 9)).save(root / "JPEGImages" / "b.jpg")
    after = build_index("train", root, Dataset(), CLASSES, workers=1).images
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False, True]


def test_limit_takes_the_first_images(root):
    index = build_index("train", root, Dataset(limit=2), CLASSES, workers=2)
    assert [entry.id for entry in index.images] == ["a", "b"]


def test_labels_from_masks(root):
    (root / "train_cls.txt").write_text("a\nb 0\n")
    index = build_index("train", root, Dataset(labels_from="masks"), CLASSES, workers=1)
    assert [entry.classes for entry in index.images] == [[2], [2]]


def test_labels_from_masks_need_the_masks(root):
    (root / "train_cls.txt").write_text("a\nd\n")
    with pytest.raises(InputError, match=r"d: labels_from is masks, but it has no mask"):
        build_index("train", root, Dataset(labels_from="masks"), CLASSES, workers=1)


def test_mask_with_an_unknown_class_is_named(root):
    (root / "train_cls.txt").write_text("a\n")
    with pytest.raises(InputError, match=r"a\.png: value 3, but there are 2 classes"):
        build_index("train", root, Dataset(labels_from="masks"), CLASSES[:2], workers=1)


def test_classes_in_mask():
    assert classes_in_mask(np.array([[0, 5, 255], [1, 5, 0]], np.uint8)) == [0, 4]
    assert classes_in_mask(np.array([[0, 255]], np.uint8)) == []


def test_all_problems_of_a_split_are_told(root):
    (root / "train_cls.txt").write_text("a 0\nb\nc 1\nghost 2\n")
    (root / "JPEGImages" / "c.jpg").write_bytes(b"junk")
    with pytest.raises(InputError) as caught:
        build_index("train", root, Dataset(), CLASSES, workers=2)
    message = str(caught.value)
    assert "train_cls.txt: 3 problems" in message
    for part in ("b: a training image without a class", "c.jpg: cannot", "ghost.jpg: missing"):
        assert part in message


def test_class_names(tmp_path):
    with pytest.raises(InputError, match=r"classes\.txt: missing"):
        class_names(tmp_path, Dataset())
    (tmp_path / "classes.txt").write_bytes(b"\xef\xbb\xbfcat\r\n dining table \r\n\r\ncow")
    assert class_names(tmp_path, Dataset()) == ["cat", "dining table", "cow"]
    assert class_names(tmp_path, Dataset(classes=["bus"])) == ["bus"]


@given(st.text(), st.integers(1, 50))
def test_shard_depends_on_the_name_alone(name, shards):
    assert 0 <= shard_of(name, shards) < shards
    assert shard_of(name, shards) == shard_of(name, shards)
    assert shard_of(name, 1) == 0


def test_shards_never_change():
    # A change would make every finished shard stale.
    names = ["2007_000027", "2007_000032", "2008_000008"]
    assert [shard_of(name, 4) for name in names] == [1, 3, 2]


def test_shards_are_balanced():
    names = [f"2007_{number:06}" for number in range(4000)]
    counts = np.bincount([shard_of(name, 8) for name in names], minlength=8)
    assert counts.min() > 400
