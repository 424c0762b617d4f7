"""Class names, indexes and shards."""

import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from i2crc.config.schema import Dataset
from i2crc.data.build_index import build_index, class_names, classes_in_mask
from i2crc.data.images import read_label, write_label
from i2crc.data.index import Entry, Index, Original, read_index, shard_of
from i2crc.runtime.atomic import digest_file, read_json, write_json
from i2crc.runtime.errors import InputError, Problem

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


def write_binary(root, names: str) -> None:
    """Write masks of 0 and 255."""
    for name in names:
        write_label(root / f"SegmentationClassAug/{name}.png", 255 * np.eye(4, 5))


def index_of(root, split="train", **settings) -> Index:
    dataset = Dataset(**{"classes": CLASSES} | settings)
    return build_index(split, root, dataset, root / "made", workers=2)


def test_index_holds_what_later_stages_need(root):
    index = index_of(root)
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
    (entry,) = index_of(root, "val").images
    assert (entry.id, entry.classes, entry.mask) == ("d", None, None)


def test_index_survives_json(root, tmp_path):
    found = index_of(root)
    index = replace(found, left_out=["z"], problems=[Problem("z.jpg", "missing", "add it")])
    write_json(tmp_path / "index.json", asdict(index))
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
    entry = index_of(root, masks="").images[0]
    assert (entry.width, entry.height) == (4, 5)


def test_large_photograph_is_worked_on_at_a_smaller_size(root):
    """Its entry names the working copy, and the photograph itself with its own size."""
    photo, copy = root / "JPEGImages/a.jpg", root / "made/working/a.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (60, 40)).save(photo, exif=exif)
    write_label(root / "SegmentationClassAug/a.png", np.zeros((60, 40), np.uint8))

    def entry(**settings) -> Entry:
        index = index_of(root, max_side=30, **settings)
        assert not index.problems and [e.original for e in index.images[1:]] == [None, None]
        return index.images[0]

    first = entry()
    assert (first.image, first.size, first.sha256) == (str(copy), (20, 30), digest_file(copy))
    assert first.original == Original(str(photo), 40, 60, digest_file(photo))
    assert first.own_size == (40, 60) == read_label(Path(first.mask)).shape[::-1]
    with Image.open(copy) as image:
        assert (image.format, image.size) == ("JPEG", (20, 30))
        assert image.layer[0][1:3] == image.layer[1][1:3]  # 4:4:4: colours at full resolution
    made = copy.stat().st_mtime_ns
    assert entry() == first and copy.stat().st_mtime_ns == made
    Image.new("RGB", (20, 30), "blue").save(copy)  # whole, but of other pixels
    assert entry() == first
    content = copy.read_bytes()
    for damage in (content[:-20], b"", Path(index_of(root).images[1].image).read_bytes()):
        copy.write_bytes(damage)
        assert entry() == first and copy.read_bytes() == content
    Image.new("RGB", (60, 40), "red").save(photo, exif=exif)
    assert entry().sha256 != first.sha256
    assert index_of(root, max_side=15).images[0].size == (10, 15)


@pytest.mark.parametrize("side", [5, 1024])
def test_photographs_within_the_limit_have_no_working_copy(root, side):
    assert index_of(root, max_side=side) == index_of(root, max_side=0)
    assert not (root / "made").exists()
    assert index_of(root, max_side=4).images[0].original


def test_damaged_large_photograph_is_named(root):
    photo = root / "JPEGImages/a.jpg"
    Image.new("RGB", (60, 40)).save(photo)
    photo.write_bytes(photo.read_bytes()[:-80])
    assert "JPEGImages/a.jpg: cannot be decoded" in problems(root, max_side=30)[0]


def test_replaced_photo_changes_its_entry_alone(root):
    before = index_of(root).images
    Image.new("RGB", (5, 4), (9, 9, 9)).save(root / "JPEGImages" / "b.jpg")
    after = index_of(root).images
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False, True]


def test_limit_takes_the_first_images(root):
    index = index_of(root, limit=2)
    assert [entry.id for entry in index.images] == ["a", "b"]


def test_index_records_the_values_of_the_masks(root):
    first = index_of(root).images[0]
    assert (first.mask_values, first.mask_classes) == ([0, 3, 255], [2])
    (without,) = index_of(root, "val").images
    assert (without.mask_values, without.mask_classes) == (None, [])


def test_binary_masks_show_the_class_of_their_photograph(root):
    """Every value but 0 is the class, 255 too; the masks of the data set stay as they are."""
    (root / "train_cls.txt").write_text("a 0\nb 1\nd 0 1\n")
    Image.fromarray(np.array([0, 255, 255, 255] * 5, np.uint8).reshape(5, 4).T).save(
        root / "SegmentationClassAug/b.png"
    )
    Image.fromarray(np.tile([False, True], (4, 3))[:, :5]).save(root / "SegmentationClassAug/a.png")
    before = digest_file(root / "SegmentationClassAug/b.png")
    index = index_of(root, binary_masks=True)
    assert not index.problems
    a, b, d = index.images
    assert (a.mask, d.mask) == (str(root / "made/train/masks/a.png"), None)
    assert read_label(Path(a.mask))[0].tolist() == [0, 1, 0, 1, 0]
    assert read_label(Path(b.mask))[:, 0].tolist() == [0, 2, 2, 2]
    assert (b.mask_sha256, b.mask_values) == (digest_file(root / "made/train/masks/b.png"), [0, 2])
    assert digest_file(root / "SegmentationClassAug/b.png") == before


@pytest.mark.parametrize(
    ("line", "has"),
    [("b 1 2", ": dog, cow): several classes"), ("b", "): no class in the list")],
)
def test_binary_masks_of_other_photographs_are_refused(root, line, has):
    (root / "val_cls.txt").write_text(f"a 0\n{line}\n")
    write_binary(root, "ab")
    assert problems(root, split="val", binary_masks=True) == [
        f"val_cls.txt:2 (image 'b'{has}, but dataset.binary_masks is true; give it one class, or "
        "take it out of the list, or save all masks with class + 1 as values and leave the setting "
        "out"
    ]


def test_a_binary_mask_of_zeros_needs_no_class(root):
    write_binary(root, "a")
    write_label(root / "SegmentationClassAug/b.png", np.zeros((4, 5)))
    (root / "val_cls.txt").write_text("a 0\nb\n")
    index = index_of(root, "val", binary_masks=True)
    assert not index.problems
    assert [(entry.classes, entry.mask_values) for entry in index.images] == [
        ([0], [0, 1]), (None, [0]),
    ]  # fmt: skip
    # A training needs a class for each photograph.
    (root / "train_cls.txt").write_text("a 0\nb\n")
    (problem,) = problems(root, binary_masks=True)
    assert problem.startswith("train_cls.txt:2: b: a training image without a class")


def test_masks_with_class_values_are_not_binary(root):
    (root / "val_cls.txt").write_text("a 2\nb 2\n")
    assert problems(root, split="val", binary_masks=True) == [
        f"SegmentationClassAug/{name}.png (values 3, 255): holds classes as values, but "
        "dataset.binary_masks is true; leave the setting out"
        for name in "ab"
    ]
    assert not list(root.glob("made/val/masks/*"))


def test_every_value_of_a_soft_edge_is_the_object(root):
    (root / "val_cls.txt").write_text("a 2\n")
    soft = np.array([[0, 3, 17, 128, 255]] * 4)
    write_label(root / "SegmentationClassAug/a.png", soft)
    (entry,) = index_of(root, "val", binary_masks=True).images
    assert read_label(Path(entry.mask))[0].tolist() == [0, 3, 3, 3, 3]


@pytest.mark.parametrize("pattern", ["mask_{id}.png", "{id}", "{id}.bmp"])
def test_converted_masks_keep_the_name_of_the_users_file(root, pattern):
    masks = root / "SegmentationClassAug"
    write_binary(root, "a")
    (masks / "a.png").rename(masks / pattern.replace("{id}", "a"))
    (root / "val_cls.txt").write_text("a 1\n")
    (entry,) = index_of(root, "val", mask_pattern=pattern, binary_masks=True).images
    assert entry.mask == str(root / "made/val/masks" / pattern.replace("{id}", "a"))
    assert read_label(Path(entry.mask)).max() == 2


def test_the_binary_mask_of_an_image_without_a_class_is_background(root):
    (root / "val_cls.txt").write_text("a 0\nb _none\n")
    (problem,) = problems(root, split="val", binary_masks=True)
    assert "(image 'b'): no class in the list, but dataset.binary_masks is true; give" in problem
    write_label(root / "SegmentationClassAug/b.png", np.zeros((4, 5), np.uint8))
    index = index_of(root, "val", binary_masks=True)
    assert [(e.classes, e.mask_values) for e in index.images] == [([0], [0, 1]), ([], [0])]


def test_with_one_class_the_list_need_not_name_it(root):
    write_binary(root, "a")
    (root / "val_cls.txt").write_text("a\n")
    (entry,) = index_of(root, "val", classes=["cat"], binary_masks=True).images
    assert entry.mask_values == [0, 1]


def test_masks_of_another_name(root):
    for path in list((root / "SegmentationClassAug").iterdir()):
        path.rename(path.with_name(f"mask_{path.name}"))
    (root / "SegmentationClassAug/.DS_Store").touch()
    assert problems(root) == [
        f"dataset.masks: {root}/SegmentationClassAug: no file in it has the name of a "
        "photograph's mask, {id}.png; it holds mask_a.png, mask_b.png, mask_c.png; set "
        'dataset.mask_pattern: "mask_{id}.png", or rename the masks; to run without them, set '
        'dataset.masks: ""'
    ]
    index = index_of(root, mask_pattern="mask_{id}.png")
    assert not index.problems and not index.warnings
    assert [Path(entry.mask).name for entry in index.images] == [
        "mask_a.png", "mask_b.png", "mask_c.png",
    ]  # fmt: skip


def test_an_empty_mask_folder_is_told(root):
    (root / "empty").mkdir()
    (problem,) = problems(root, masks="empty")
    assert "empty: no file in it has the name of a photograph's mask, {id}.png; rename" in problem


def test_two_files_for_each_photograph_are_both_offered(root):
    masks = root / "SegmentationClassAug"
    for name in "abc":
        (masks / f"{name}.png").rename(masks / f"{name}_object.png")
        (masks / f"{name}_edge.png").touch()
    (problem,) = problems(root)
    assert 'set dataset.mask_pattern: "{id}_edge.png" or "{id}_object.png", or rename' in problem


def test_some_masks_of_another_name_are_a_warning(root):
    masks = root / "SegmentationClassAug"
    (masks / "b.png").rename(masks / "b_mask.png")
    index = index_of(root)
    assert not index.problems
    assert index.warnings == [
        f"{masks}: no mask was found for b, but b_mask.png fit no photograph; give them the names "
        "of the other masks, {id}.png"
    ]


def test_masks_and_photographs_that_are_not_listed_are_no_warning(root):
    (root / "SegmentationClassAug/other.png").touch()
    (root / "SegmentationClassAug/.DS_Store").touch()
    assert not index_of(root).warnings
    assert not index_of(root, "val").warnings  # d has no mask


def test_labels_from_masks(root):
    (root / "train_cls.txt").write_text("a\nb 0\n")
    index = index_of(root, labels_from="masks")
    assert [entry.classes for entry in index.images] == [[2], [2]]


def problems(root, **settings) -> list[str]:
    index = index_of(root, **settings)
    assert not {entry.id for entry in index.images} & set(index.left_out)
    return [str(problem).removeprefix(f"{root}/") for problem in index.problems]


def test_labels_from_masks_need_the_masks(root):
    (root / "train_cls.txt").write_text("a\nd\n")
    assert problems(root, labels_from="masks") == [
        "SegmentationClassAug/d.png: missing, and dataset.labels_from is masks; add it, or take "
        "its image out of the list"
    ]


def test_a_mask_with_an_unknown_class_is_left_to_preflight(root):
    (root / "train_cls.txt").write_text("a 0\n")
    for labels_from, classes in (("list", [0]), ("masks", [])):
        (entry,) = index_of(root, classes=CLASSES[:2], labels_from=labels_from).images
        assert (entry.mask_values, entry.classes) == ([0, 3, 255], classes)


def test_masks_without_an_object_give_examples_of_background(root):
    write_label(root / "SegmentationClassAug/a.png", np.zeros((4, 5), np.uint8))
    index = index_of(root, labels_from="masks")
    assert [entry.classes for entry in index.images] == [[], [2], [2]] and not index.problems
    assert index.warnings == [
        f"{root}/SegmentationClassAug: 1 of 3 masks of train show no class (a): their photographs "
        "count as examples of background; correct the masks if they show an object"
    ]


def test_a_training_split_without_any_class_is_a_problem(root):
    (root / "train_cls.txt").write_text("a _none\nb _none\n")
    assert problems(root) == [
        "train_cls.txt: none of the 2 training images has a class, so nothing can be learnt; give "
        "the classes of some"
    ]
    for name in "abc":
        write_label(root / f"SegmentationClassAug/{name}.png", np.zeros((4, 5), np.uint8))
    (problem,) = problems(root, labels_from="masks")
    assert "none of the 2 training images has a class" in problem


def test_mask_of_another_size(root):
    write_label(root / "SegmentationClassAug/a.png", np.zeros((5, 4), np.uint8))
    (problem,) = problems(root)
    assert problem.startswith("SegmentationClassAug/a.png: size 4x5, the photograph has 5x4; ")


@pytest.mark.parametrize(
    ("mode", "kind", "message"),
    [
        ("RGB", "PNG", "mode RGB, which holds no class indices; save it as a palette or 8-bit"),
        ("I;16", "PNG", "mode I;16, which holds no class indices; save it as"),
        ("L", "JPEG", "a JPEG, which changes pixel values; save it as a palette or 8-bit grey PNG"),
    ],
)
def test_mask_of_another_kind(root, mode, kind, message):
    Image.new(mode, (5, 4)).save(root / "SegmentationClassAug/a.png", kind)
    (problem,) = problems(root)
    assert problem.startswith(f"SegmentationClassAug/a.png: {message}")


def test_damaged_mask(root):
    (root / "SegmentationClassAug/a.png").write_bytes(b"")
    assert problems(root) == [
        "SegmentationClassAug/a.png: cannot be decoded (it is empty); replace the file"
    ]


def test_classes_in_mask():
    assert classes_in_mask(np.array([[0, 5, 255], [1, 5, 0]], np.uint8)) == [0, 4]
    assert classes_in_mask(np.array([[0, 255]], np.uint8)) == []


def test_all_problems_of_a_split_are_reported(root):
    (root / "train_cls.txt").write_text("a 0\nb\nc x\nghost 2\na 1\n../b 1\n")
    (root / "JPEGImages" / "c.jpg").write_bytes(b"junk")
    (root / "SegmentationClassAug" / "a.png").write_bytes(b"junk")
    found = problems(root)
    for part in (
        "train_cls.txt:2: b: a training image without a class",
        "train_cls.txt:3: 'x': no class",
        "train_cls.txt:5: image 'a' is listed in line 1 too",
        "train_cls.txt:6: image '../b' is not a plain file name",
        "c.jpg: cannot be decoded (no JPEG, PNG, ",
        "ghost.jpg: missing",
        "a.png: cannot be decoded (no JPEG",
    ):
        assert sum(part in problem for problem in found) == 1, part
    assert len(found) == 7
    index = index_of(root)
    assert (index.images, index.left_out) == ([], ["a", "b", "c", "ghost"])


def test_a_missing_folder_of_photographs_is_one_problem(root):
    (root / "train_cls.txt").write_text("a 0\nb\nc x\n")
    unknown, missing = problems(root, images="Photos")
    assert unknown.startswith("train_cls.txt:3: 'x': no class")
    assert missing == f"dataset.images: {root}/Photos: no such folder; correct the setting"


def test_photographs_are_looked_at_without_class_names(root):
    (root / "JPEGImages" / "b.jpg").unlink()
    no_classes, problem = problems(root, classes=[])
    assert no_classes.startswith("classes.txt: missing; write it, a class a line, or set dataset.")
    assert "b.jpg: missing" in problem


def test_what_leaves_nothing_to_read_is_a_problem(root):
    assert problems(root, split="test") == [
        "dataset.test_list: is empty; name the list of the test images"
    ]
    (problem,) = problems(root / "none")
    assert problem.startswith(f"dataset.root: {root}/none: no such folder; give yours with")


@pytest.mark.parametrize("name", ["b.jpeg", "B.jpg", "b .jpg"])
def test_missing_photograph_with_the_one_that_was_meant(root, name):
    (root / "JPEGImages/b.jpg").rename(root / "JPEGImages" / name)
    (problem,) = problems(root)
    assert problem == (
        f"JPEGImages/b.jpg: missing; '{name}' is there: rename it, correct the list, or set "
        "dataset.image_suffix"
    )


def test_large_photograph_is_refused_before_it_is_decoded(root):
    (problem,) = problems(root, max_pixels=19, masks="", limit=1)
    assert problem.startswith("JPEGImages/a.jpg: 5x4 pixels, more than the 19 allowed; ")
    assert "dataset.max_pixels" in problem
    assert not problems(root, max_pixels=20)


def test_class_names(tmp_path):
    with pytest.raises(InputError, match=r"classes\.txt: missing"):
        class_names(tmp_path, Dataset())
    (tmp_path / "classes.txt").write_bytes(b"\xef\xbb\xbfcat\r\n dining table \r\n\r\ncow")
    assert class_names(tmp_path, Dataset()) == ["cat", "dining table", "cow"]
    assert class_names(tmp_path, Dataset(classes=["bus"])) == ["bus"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a", "b", "a"], "has a twice; name each class once"),
        (["Background", "a"], "has Background, which is no class: every image has it, as label 0"),
        ([".DS_Store", "a"], "has .DS_Store, which is a hidden file and no class; take it out"),
        (["a\x1bb"], r"has 'a\\x1bb', which is no printable text; rename it"),
        ([f"c{n}" for n in range(255)], "has 255 names; give at most 254: labels have 8 bits"),
        ([], "has no class; write one a line"),
    ],
)
def test_wrong_class_names(tmp_path, names, message):
    (tmp_path / "classes.txt").write_text("\n".join(names))
    with pytest.raises(InputError, match=rf"classes\.txt: {message}"):
        class_names(tmp_path, Dataset())


def test_classes_are_the_same_name_however_composed(root):
    """File names of macOS hold letters and accents apart, and so do texts copied from them."""
    apart, whole = "cafe\u0301", "caf\xe9"
    (root / "classes.txt").write_text(f"{apart}\ndog\ncow\n")
    for names in ([apart, "dog", "cow"], []):
        for word in (apart, whole):
            (root / "train_cls.txt").write_text(f"a {word}\nb 1\nc 2\n")
            index = build_index("train", root, Dataset(classes=names), root / "made", 1)
            assert index.classes[0] == whole and index.images[0].classes == [0]
    (root / "train_cls.txt").write_text("a 1\nb 1\nc 2\n")
    index = corrected(root, relabel={"a": [apart]}, classes=[whole, "dog", "cow"])
    assert index.images[0].classes == [0]


def test_254_classes_are_not_too_many(tmp_path):
    (tmp_path / "classes.txt").write_text("\n".join(f"c{n}" for n in range(254)))
    assert len(class_names(tmp_path, Dataset())) == 254


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


@pytest.fixture
def trusted(root) -> Path:
    """A folder with a mask of photograph b, drawn by hand; d is in val."""
    (root / "hand").mkdir()
    mask = np.zeros((4, 5), np.uint8)
    mask[1] = 2
    for name in "bd":
        write_label(root / f"hand/{name}.png", mask)
    return root / "hand"


@pytest.mark.parametrize("masks", ["", "SegmentationClassAug"])
def test_trusted_masks_are_those_of_training_photographs(root, trusted, masks):
    index = index_of(root, masks=masks, trusted_masks="hand")
    assert not index.problems
    found = {entry.id: (entry.trusted_mask, entry.trusted_sha256) for entry in index.images}
    digest = digest_file(trusted / "b.png")
    assert found == {"a": (None, None), "b": (str(trusted / "b.png"), digest), "c": (None, None)}
    assert index_of(root, masks=masks, trusted_masks=str(trusted)) == index
    (entry,) = index_of(root, "val", masks=masks, trusted_masks="hand").images
    assert entry.trusted_mask is None


def test_trusted_masks_of_no_photograph_are_a_problem(root, trusted):
    for name in ("photo_a", "zz_1", "zz_2", "zz_3"):
        shutil.copy(trusted / "b.png", trusted / f"{name}.png")
    (trusted / "notes.txt").touch()
    Image.new("RGB", (5, 4)).save(root / "JPEGImages/photo-a.jpg")
    (problem,) = problems(root, trusted_masks="hand")
    assert problem == (
        f"dataset.trusted_masks: {trusted}: photo_a.png, zz_1.png, zz_2.png and 1 more: no "
        "photograph has a mask of this name; the nearest name is photo-a.png: rename it, or take "
        "out what is not needed"
    )
    assert not problems(root, split="val", trusted_masks="hand")


def test_binary_trusted_masks_get_the_class_of_their_photograph(root, trusted):
    (root / "train_cls.txt").write_text("a 0\nb 2\n")
    index = index_of(root, masks="", trusted_masks="hand", binary_masks=True)
    made = root / "made/train/trusted_masks/b.png"
    assert [entry.trusted_mask for entry in index.images] == [None, str(made)]
    assert np.unique(read_label(made)).tolist() == [0, 3]


@pytest.mark.parametrize(
    ("name", "mask", "message"),
    [
        ("b", np.full((5, 4), 2), "b.png: size 4x5, the photograph has 5x4; give the mask of this"),
        ("b", np.full((4, 5), 9), "b.png: holds 9, but there are 3 classes; use 0 for background"),
        ("b", np.full((4, 5), 255), "b.png: holds 255, but its photograph's classes would be 2 "),
        ("b", np.full((4, 5), 1), "classes would be 2 (dog) or 3 (cow); save class number + 1 as"),
        ("none", np.full((4, 5), 2), "none.png: holds 2, but its photograph is listed as one with"),
        ("x", np.full((4, 5), 2), "hand: no file in it has the name of a photograph's mask"),
        ("d", np.full((4, 5), 2), "hand: none of its masks is of a training photograph; add some"),
        (None, None, "dataset.trusted_masks: ROOT/hand: no such folder; correct the setting"),
    ],
)
def test_wrong_trusted_masks_are_problems(root, name, mask, message):
    if name:
        write_label(root / f"hand/{name}.png", mask)
    Image.new("RGB", (5, 4)).save(root / "JPEGImages/none.jpg")
    with open(root / "train_cls.txt", "a") as file:
        file.write("none _none\n")
    (problem,) = problems(root, trusted_masks="hand")
    assert message.replace("ROOT", str(root)) in problem


def corrected(root, exclude=(), relabel=None, **settings) -> Index:
    """The index of train with corrections from a file."""
    content = {"i2crc_corrections": 1, "exclude": [*exclude], "relabel": relabel or {}}
    write_json(root / "corrections.json", content)
    return index_of(root, **{"corrections": "corrections.json"} | settings)


def test_corrections_leave_photographs_out_and_change_classes(root):
    (root / "train_cls.txt").write_text("a 0\nb 1 2\nc 2\nd 0 1\n")
    index = corrected(root, ["a"], {"b": ["cow", "cow"], "c": []})
    assert not index.problems
    assert [(entry.id, entry.classes) for entry in index.images] == [
        ("b", [2]), ("c", []), ("d", [0, 1]),
    ]  # fmt: skip
    assert index.corrections == {"exclude": ["a"], "relabel": {"b": ["cow", "cow"], "c": []}}
    assert index_of(root, corrections=str(root / "corrections.json")) == index
    assert index_of(root, "val", corrections="corrections.json") == index_of(root, "val")
    assert corrected(root, ["a"], limit=1).images[0].id == "b"


def test_a_photograph_that_stops_a_run_can_be_excluded(root):
    (root / "train_cls.txt").write_text("a 0\nb 1 2\nc 0\nd\n")
    (root / "JPEGImages/a.jpg").write_text("no photograph")
    assert len(problems(root)) == 2
    assert not corrected(root, ["a"], {"d": ["dog"]}).problems


def test_masks_are_judged_by_the_corrected_classes(root, trusted):
    relabel = {"b": ["cat"]}
    (problem,) = corrected(root, relabel=relabel | {"a": ["dog"]}, trusted_masks="hand").problems
    assert "holds 0, 2, but its photograph's classes would be 1 (cat)" in problem.problem
    write_binary(root, "ab")
    (root / "train_cls.txt").write_text("a 0 1\nb 1 2\n")
    index = corrected(root, relabel={"a": ["dog"], "b": ["cow"]} | relabel, binary_masks=True)
    assert "leaves no photograph of cow in train" in index.problems[0].problem
    (root / "train_cls.txt").write_text("a 0 1\nb 1\n")
    index = corrected(root, relabel={"a": ["dog"], "b": ["cat"]}, binary_masks=True)
    assert [entry.mask_values for entry in index.images] == [[0, 2], [0, 1]]


def test_binary_masks_of_several_corrected_classes_or_none_are_not_used(root):
    (root / "train_cls.txt").write_text("a 0\nb 1\nc 0\nd 1\n")
    write_binary(root, "abc")
    index = corrected(root, relabel={"a": ["cat", "dog"], "b": []}, binary_masks=True)
    assert not index.problems
    assert [entry.mask_values for entry in index.images] == [None, None, [0, 1], None]
    (warning,) = index.warnings
    assert warning == (
        f"{root}/corrections.json: the binary masks of a, b are not used, because their "
        "photographs were relabelled to several classes or none"
    )
    (root / "train_cls.txt").write_text("a 0 1\nb 1\n")
    (problem,) = index_of(root, binary_masks=True).problems
    assert "several classes, but dataset.binary_masks is true" in str(problem)


@pytest.mark.parametrize(
    ("exclude", "relabel", "message"),
    [
        (["photo_1", "x"], {}, "no photograph has the id photo_1, x; the nearest to photo_1 is "
         "photo1: correct it, or take out what is no id of a photograph"),
        (["zzz"], {}, "no photograph has the id zzz; take out what is no id of a photograph"),
        ([], {"d": ["dog"]}, "d: not in train, but in another split or in none; take them out: only"
         " photographs of train are corrected"),
        (["a"], {"a": ["dog"]}, "a: excluded and relabelled; take them out of `exclude` or out of "
         "`relabel`"),
        ([], {"a": ["dogs"]}, "'dogs', as a is relabelled, is none of the 3 classes (cat, dog, "
         "cow); the nearest is 'dog'"),
        ([], {"a": ["_none"]}, "'_none', as a is relabelled, is none of the 3 classes (cat, dog, "
         "cow); a photograph without any class has []"),
        (["a", "b", "c", "photo1"], {}, "excludes all 4 photographs of train; take some out of "
         "`exclude`"),
        (["a"], {"b": ["cow"]}, "leaves no photograph of cat, dog in train; keep one of each, or "
         "take the class out of the data set"),
    ],
)  # fmt: skip
def test_wrong_corrections_are_problems(root, exclude, relabel, message):
    Image.new("RGB", (5, 4)).save(root / "JPEGImages/photo1.jpg")
    with open(root / "train_cls.txt", "a") as file:
        file.write("photo1 2\n")
    (problem,) = corrected(root, exclude, relabel).problems
    assert str(problem) == f"{root}/corrections.json: {message}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "dataset.corrections: FILE: cannot be read (No such file or directory); correct"),
        ("{", "FILE: not valid JSON (Expecting property name"),
        ("[]", "FILE: no file of corrections (: Input should be"),
        ("{}", "FILE: no file of corrections (i2crc_corrections: Field required); give the file"),
        ('{"i2crc_corrections": 1, "excluded": []}', "(excluded: Extra inputs are not permitted)"),
        ('{"i2crc_corrections": 1, "relabel": {"a": "dog"}}', "(relabel.a: Input should be a"),
    ],
)
def test_a_file_that_holds_no_corrections_is_a_problem(root, content, message):
    file = root / "corrections.json"
    if content is not None:
        file.write_text(content)
    (problem,) = index_of(root, corrections="corrections.json").problems
    assert message.replace("FILE", str(file)) in str(problem)


def test_corrections_with_a_byte_order_mark_are_recorded(root, tmp_path):
    text = '{"i2crc_corrections": 1, "exclude": ["c"]}'
    (root / "corrections.json").write_text(text, encoding="utf-8-sig")
    settings = Dataset(classes=CLASSES, corrections="corrections.json").model_dump_json()
    output = tmp_path / "train.json"
    words = ["--split", "train", "--root", root, "--settings", settings, "--output", output]
    words += ["--shards", tmp_path / "1-of-1.json", "--threads", "1"]
    script = Path(build_index.__code__.co_filename).parents[2] / "data/prepare_data.py"
    subprocess.run([sys.executable, script, *words], check=True)
    assert [entry.id for entry in read_index(output).images] == ["a", "b"]
    inputs = read_json(output)["provenance"]["inputs"]
    assert [Path(name).name for name in inputs] == ["train_cls.txt", "corrections.json"]


def test_labels_read_from_masks_are_not_corrected(root):
    (problem,) = corrected(root, relabel={"a": ["cow"]}, labels_from="masks").problems
    assert "relabels photographs, but dataset.labels_from is masks" in problem.problem
