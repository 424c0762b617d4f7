"""Data sets of every format: their photographs, ids, classes, and what is wrong with them."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from i2crc.config.load import load_config
from i2crc.config.schema import Dataset
from i2crc.data.build_index import build_index
from i2crc.data.images import read_label, write_label
from i2crc.data.listing import Listing, list_dataset
from i2crc.data.splits import draw_splits

ODD = 'ca\'fé "x" 猫'


def photograph(path: Path, color: object = "red", size=(12, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = {".jpeg": "JPEG", ".jpg": "JPEG", ".tif": "TIFF"}.get(path.suffix.lower())
    Image.new("RGB", size, color).save(path, kind)


def settings(folder: Path, kind: str, **more) -> Dataset:
    values = {"format": kind, "root": str(folder), "val_share": 0, **more}
    return load_config({"dataset": values}, "test").dataset


def listed(root: Path, kind: str, **more) -> Listing:
    return list_dataset(root, settings(root, kind, **more))


def found(listing: Listing, split: str = "train") -> dict[str, list[str] | None]:
    """Id -> names of the classes; None if they are unknown."""
    return {
        row.id: None if row.classes is None else [listing.classes[c] for c in row.classes]
        for row in listing.splits[split]
    }


def problems(root: Path, kind: str, **more) -> list[str]:
    return [str(p).replace(f"{root}/", "") for p in listed(root, kind, **more).problems]


@pytest.fixture
def root(tmp_path):
    """Class folders with odd names, depths and suffixes."""
    for number, name in enumerate(
        [f"{ODD}/007.JPEG", f"{ODD}/deep/er/007.webp", "dog/007.png", "dog/7.tif", "dog/7.bmp",
         "_none/a.jpg", "BackGround/b.jpg"]
    ):  # fmt: skip
        photograph(tmp_path / name, (number, 0, 0))
    return tmp_path


def test_a_folder_for_each_class(root):
    listing = listed(root, "folders")
    assert not listing.problems and not listing.warnings
    assert listing.classes == [ODD, "dog"]
    assert found(listing) == {
        f"{ODD}/007": [ODD], f"{ODD}/deep/er/007": [ODD],
        "dog/007": ["dog"], "dog/7.tif": ["dog"], "dog/7.bmp": ["dog"],
        "_none/a": [], "BackGround/b": [],
    }  # fmt: skip


def test_an_index_of_class_folders(root):
    """Masks lie below their folder as the photographs do; a negative has classes []."""
    write_label(root / "masks/dog/m_007.png", np.full((8, 12), 2, np.uint8))
    dataset = settings(root, "folders", masks="masks", mask_pattern="m_{id}.png")
    listing = list_dataset(root, dataset)
    index = build_index("train", root, dataset, root / "made", 1, listing)
    assert not index.problems and index.classes == [ODD, "dog"]
    entries = {entry.id: entry for entry in index.images}
    assert entries["_none/a"].classes == []
    assert entries["dog/007"].mask_values == [2]
    assert entries["dog/7.tif"].image == str(root / "dog/7.tif")


def test_masks_in_linked_folders(root):
    """As photographs in linked folders, they belong to the data."""
    write_label(root / "elsewhere/007.png", np.full((8, 12), 2, np.uint8))
    (root / "masks").mkdir()
    (root / "masks/dog").symlink_to(root / "elsewhere")
    dataset = settings(root, "folders", masks="masks")
    index = build_index("train", root, dataset, root / "made", 1, list_dataset(root, dataset))
    assert not index.problems
    assert [entry.id for entry in index.images if entry.mask] == ["dog/007"]


def test_what_is_no_photograph_is_counted(root):
    for name in ("dog/notes.txt", "dog/.hidden.jpg", ".DS_Store", "dog/Thumbs.db"):
        (root / name).write_text("x")
    photograph(root / "stray.jpg")
    (root / "empty").mkdir()
    ignored, outside, empty = listed(root, "folders").warnings
    assert (
        "2 hidden files and 2 files with another ending (dog/Thumbs.db, dog/notes.txt)" in ignored
    )
    assert "1 photograph in the folder of no class (stray.jpg) left out" in outside
    assert empty.endswith("no photograph in empty: no class")


def test_the_same_photograph_in_two_class_folders_has_both_classes(root):
    (root / "dog/copy.jpeg").write_bytes((root / ODD / "007.JPEG").read_bytes())
    listing = listed(root, "folders")
    assert found(listing)[f"{ODD}/007"] == [ODD, "dog"]
    assert "dog/copy" not in found(listing)
    assert "1 photograph in the folders of several classes" in listing.warnings[0]
    (root / "dog/none.jpg").write_bytes((root / "_none/a.jpg").read_bytes())
    (problem,) = problems(root, "folders")
    assert "_none/a.jpg = dog/none.jpg: the same photograph as one of a class" in problem


def test_given_splits_of_class_folders(root):
    for name in ("train/cat/1.jpg", "train/dog/2.jpg", "val/dog/1.jpg"):
        photograph(root / "split" / name, (0, len(name) * 9, int(name[-5]) * 99))
    more = {"images": "split"}
    (problem,) = problems(root, "folders", **more)
    assert "its folders are called train, val, which are splits, not classes; name them" in problem
    listing = listed(root, "folders", **more, train_list="train", val_list="val")
    assert not listing.problems
    assert found(listing) == {"train/cat/1": ["cat"], "train/dog/2": ["dog"]}
    assert found(listing, "val") == {"val/dog/1": ["dog"]}


@pytest.mark.parametrize("where", ["elsewhere", "photos/../elsewhere"])
def test_a_split_that_is_not_below_the_photographs_is_a_problem(tmp_path, where):
    for name in ("photos/cat/1.jpg", "elsewhere/cat/2.jpg"):
        photograph(tmp_path / name)
    more = {"images": "photos", "val_list": str(tmp_path / where)}
    (problem,) = problems(tmp_path, "folders", train_list=".", **more)
    assert problem == (
        f"{where}: is not below the photographs, {tmp_path}/photos; set dataset.images to a folder "
        "that holds both"
    ).replace(f"{tmp_path}/", "")


def test_photographs_beside_the_splits_of_class_folders_are_named(tmp_path):
    names = ["train/cat/1.jpg", "train/stray.jpg", "val/cat/2.jpg", "test/3.jpg", "_none/4.jpg"]
    for number, name in enumerate(names):
        photograph(tmp_path / name, (number, 0, 0))
    photograph(tmp_path / "train/dog/copy.jpg", (0, 0, 0))
    stray, copy, beside = listed(tmp_path, "folders", train_list="train", val_list="val").warnings
    assert "1 photograph in the folder of no class (train/stray.jpg) left out" in stray
    assert "1 photograph in the folders of several classes" in copy
    assert beside == (
        f"{tmp_path}: 2 photographs not in train and val left out (_none/4.jpg, test/3.jpg); to "
        "train on them, move them into train, negatives into train/_none"
    )
    *_, beside = listed(tmp_path, "folders", train_list="train").warnings
    assert beside.endswith("; to validate with them, name their folder in dataset.val_list")


def test_folders_of_splits_beside_negatives_are_no_classes(tmp_path):
    for number, name in enumerate(["train/1.jpg", "dev_set/2.jpg", "_none/3.jpg"]):
        photograph(tmp_path / name, (number, 0, 0))
    (problem,) = problems(tmp_path, "folders")
    assert "its folders are called dev_set, train, which are splits, not classes" in problem
    assert not problems(tmp_path, "folders", classes=["train", "dev_set"])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"images": "photos"}, "photos: no such folder; correct the setting"),
        ({"train_list": "train"}, "train: no such folder; correct dataset.train_list"),
        ({"images": "dog", "train_list": ""}, "has no folder of a class with photographs in it"),
        ({"classes": ["dgo", ODD]}, "'dog' is none of the 2 classes (dgo, "),
        ({"classes": ["dgo", ODD]}, "the nearest is 'dgo'"),
    ],
)
def test_wrong_class_folders(root, more, message):
    (problem,) = problems(root, "folders", **more)
    assert message in problem


def test_a_link_to_a_class_folder_is_followed_and_circles_end(root):
    photograph(root / "elsewhere/x.jpg", "blue")
    (root / "data").mkdir()
    (root / "data/cat").symlink_to(root / "elsewhere")
    (root / "data/cat/circle").symlink_to(root / "data")
    assert found(listed(root, "folders", images="data")) == {"cat/x": ["cat"]}


@pytest.mark.parametrize(
    "text",
    [
        'file,labels\ndog/007.png,"dog, big cat"\n_none/a.jpg,\ndog/7.tif,dog\n',
        "file;labels\ndog/007.png;dog|big cat\n_none/a.jpg;\ndog/7.tif;dog\n",
        "dog/007.png\tdog;big cat\n_none/a.jpg\n\ndog/7.tif\tdog\n",
        "dog/007.png,dog\ndog/007.png,big cat\n_none/a.jpg,_none\ndog/7.tif, dog \n",
        "Image|x|Class\ndog\\007.png|1|dog\ndog/007.png|2|big cat\na|3|Background\n7.tif|4|dog\n",
        "\ufefffilename,label\r\n./dog/007.png,dog,big cat\r\na.jpg\r\ndog/7.tif,dog\r\n",
        "file,labels,,\ndog/007.png,dog,big cat,\na.jpg,,,\ndog/7.tif,dog,,\n",
        "file,labels\ndog/007.png,\"['dog', 'big cat']\"\na.jpg,[]\ndog/7.tif,['dog']\n",
        'file,labels\n007.png,"[""dog"", ""big cat""]"\na.jpg,[]\n7.tif,"[""dog""]"\n',
    ],
    ids=[
        "cell",
        "semicolon",
        "tab",
        "rows",
        "heading",
        "BOM, short names",
        "spreadsheet",
        "Python",
        "JSON",
    ],
)
def test_a_table_of_any_form(root, text):
    (root / "labels.csv").write_text(text, newline="")
    listing = listed(root, "csv")
    assert not listing.problems
    assert listing.classes == ["big cat", "dog"]
    expected = {"dog/007": ["big cat", "dog"], "_none/a": [], "dog/7": ["dog"]}
    assert found(listing) == expected
    assert "4 photographs not in labels.csv left out" in listing.warnings[-1]


def test_a_folder_in_the_folder_of_photographs_may_have_its_name(tmp_path):
    for name in ("1.png", "photos/1.png", "2.png"):
        photograph(tmp_path / "photos" / name)
    lines = ["1.png,a", "photos/1,b", "./photos/2.png,c"]
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    listing = listed(tmp_path, "csv", images="photos")
    assert (listing.problems, found(listing)) == ([], {"1": ["a"], "photos/1": ["b"], "2": ["c"]})


def test_numbers_are_classes_if_their_column_is_called_so(root):
    (root / "labels.csv").write_text("file,labels\ndog/007.png,1\ndog/7.tif,0\n")
    assert found(listed(root, "csv")) == {"dog/007": ["1"], "dog/7": ["0"]}


def test_a_class_with_a_comma_is_named_in_the_settings(root):
    (root / "labels.csv").write_text('dog/007.png,"tench, Tinca tinca"\n')
    classes = ["tench, Tinca tinca"]
    assert found(listed(root, "csv", classes=classes)) == {"dog/007": classes}


def test_a_class_with_a_comma_is_named_in_classes_txt(root):
    (root / "labels.csv").write_text('dog/007.png,"cat, tabby"\ndog/7.tif,dog\n')
    (root / "classes.txt").write_text("dog\ncat, tabby\n")
    assert found(listed(root, "csv")) == {"dog/007": ["cat, tabby"], "dog/7": ["dog"]}


def test_numbered_columns_of_labels(root):
    (root / "labels.csv").write_text("file,label1,Label_2\ndog/007.png,dog,cat\n7.tif,dog,\n")
    assert found(listed(root, "csv")) == {"dog/007": ["cat", "dog"], "dog/7": ["dog"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,class,class_name\ndog/007.png,0,dog\n",
         "labels.csv:1: several columns may hold the labels: class, class_name; call the one to"),
        ("", "labels.csv: has no row"),
        ("x.jpg,dog\n", "none of its rows names a photograph below"),
        ("file,labels\ndog/007.png,dog\nx.jpg,dog\n", "labels.csv:3: no photograph 'x.jpg' below"),
        ("dog/007.png,dog\nDOG/7.TIF,dog\n", "'dog/7.tif' is there: correct the name"),
        ("dog/007.png,dog\n007,dog\n", "labels.csv:2: several photographs have the name '007'"),
        ("Bild,Art\ndog/007.png,dog\n", "if the line is a heading, call its columns file and"),
        ("file,colour,weather\ndog/007.png,a,b\n", "its heading has no column `labels` (file, c"),
        ("id,width,Klasse\ndog/007.png,9,dog\n", "no column `labels` (id, width, Klasse); name"),
        ("dog/007.png,500,dog\n7.tif,333,cat\n", "column 2 holds numbers alone (500, 333); call"),
        ("file,width\ndog/007.png,500\n", "labels.csv: column 2 holds numbers alone (500); call"),
        ('file,labels\ndog/007.png,"dog\n', "no line of CSV (unexpected end of data)"),
        ("file,labels\ndog/007.png,\n", "no photograph has a class"),
        ("file,labels\ndog/007.png,dog;_none\n", "labels.csv:2: says _none (no class) and names"),
        (b"\xff\xfe", "labels.csv: not UTF-8"),
        (None, "labels.csv: cannot be read (No such file or directory)"),
    ],
)  # fmt: skip
def test_wrong_tables(root, text, message):
    if text is not None:
        content = text if isinstance(text, bytes) else text.encode()
        (root / "labels.csv").write_bytes(content)
    (problem,) = problems(root, "csv")
    assert message in problem


def test_names_that_differ_in_capitals_are_a_warning(root):
    (root / "labels.csv").write_text("dog/007.png,Dog\ndog/7.tif,dog\n")
    assert "the classes Dog, dog differ in capitals alone" in listed(root, "csv").warnings[0]


COCO = {
    "images": [
        {"id": 1, "file_name": "x/007.png", "width": 12, "height": 8},
        {"id": 2, "file_name": "7.tif"},
        {"id": 9, "file_name": "_none/a.jpg"},
    ],
    "categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": ODD}, {"id": 1, "name": "unused"}],
    "annotations": [
        {"image_id": 1, "category_id": 7, "segmentation": [[0, 0, 6, 0, 6, 8, 0, 8]], "area": 48},
        {"image_id": 1, "category_id": 3, "segmentation": [[2, 2, 4, 2, 4, 4, 2, 4]], "area": 4},
        {"image_id": 2, "category_id": 7, "iscrowd": 1,
         "segmentation": {"size": [8, 12], "counts": [8, 16, 72]}},
    ],
}  # fmt: skip


def coco(root: Path, **changes) -> Path:
    content = json.loads(json.dumps(COCO))
    content["images"][0]["file_name"] = "dog/007.png"
    (root / "annotations.json").write_text(json.dumps(content | changes))
    return root


def test_coco_gives_classes_and_masks_of_val(root):
    """Classes are in the order of the categories; the masks of train are not drawn."""
    dataset = settings(coco(root), "coco", val_list="annotations.json")
    listing = draw_splits(list_dataset(root, dataset), root, dataset, 1)
    assert not listing.problems
    assert listing.classes == [ODD, "dog"]
    assert found(listing) == {"dog/007": [ODD, "dog"], "dog/7": ["dog"], "_none/a": []}
    train = build_index("train", root, dataset, root / "made", 1, listing)
    assert [entry.mask for entry in train.images] == [None] * 3
    val = build_index("val", root, dataset, root / "made", 1, listing)
    masks = {entry.id: read_label(Path(entry.mask)) for entry in val.images}
    expected = np.zeros((8, 12), np.uint8)
    expected[:, :6] = 2
    expected[2:4, 2:4] = 1  # the smaller object is above
    assert np.array_equal(masks["dog/007"], expected)
    assert np.array_equal(masks["dog/7"][:, 1:3], np.full((8, 2), 255))
    assert masks["dog/7"].sum() == 255 * 16
    assert not masks["_none/a"].any()


def test_some_categories_of_coco_can_be_chosen(root):
    listing = listed(coco(root), "coco", classes=["dog"])
    assert found(listing) == {"dog/007": ["dog"], "dog/7": ["dog"], "_none/a": []}
    (problem,) = problems(root, "coco", classes=["dog", "horse"])
    assert problem.startswith("dataset.classes: no object is called horse; there are ")


def test_boxes_have_no_mask(root):
    boxes = [{**one, "segmentation": []} for one in COCO["annotations"]]
    listing = listed(coco(root, annotations=boxes), "coco")
    assert all(row.shapes is None for row in listing.splits["train"])
    assert "3 annotations without a segmentation" in listing.warnings[0]


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        ({}, "FOLDER: 4 photographs not in annotations.json left out (BackGround/b.jpg, "),
        ({}, "FOLDER: unused: no class, because no photograph shows it or classes.txt does not "),
        ({"annotations": [{"image_id": 1, "category_id": 7}]},
         "FOLDER/annotations.json: 1 annotation without a segmentation: photographs with such "),
        ({"categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": "Dog"}]},
         "the classes Dog, dog differ in capitals alone: write them alike if they are one"),
    ],
)  # fmt: skip
def test_what_is_odd_in_a_coco_file_is_a_warning(root, changes, warning):
    listing = listed(coco(root, **changes), "coco")
    assert not listing.problems
    begin = warning.replace("FOLDER", str(root))
    assert sum(text.startswith(begin) for text in listing.warnings) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"categories": {}}, "annotations.json: has no list `categories`; give a COCO annotation"),
        ({"images": [{"id": 1}]}, "annotations.json: images[0]: has no `id` and `file_name`"),
        ({"annotations": [{"image_id": 1, "category_id": 8}]}, "category_id 8 is none of its cat"),
        ({"annotations": [{"image_id": 5, "category_id": 7}]}, "1 annotation of images that it do"),
        ({"images": [{"id": 1, "file_name": "no.jpg"}]}, "image 1: no photograph 'no.jpg' below"),
        ({"images": [{"id": i, "file_name": "7.tif"} for i in (1, 2)]}, "7.tif is listed twice"),
    ],
)
def test_wrong_coco_files(root, changes, message):
    assert any(message in problem for problem in problems(coco(root, **changes), "coco"))


def test_numbers_of_annotations_must_be_whole(root):
    """As a table of pandas with empty cells writes them."""
    annotations = [{"image_id": 1.0, "category_id": 7}]
    (problem,) = problems(coco(root, annotations=annotations), "coco")
    assert "has no `image_id` and `category_id` that are whole numbers or texts" in problem


def test_an_object_of_no_category_leaves_its_photograph_out(root):
    """It is no negative: nobody knows what it shows."""
    listing = listed(
        coco(root, annotations=[{"image_id": 2, "category_id": 8}, *COCO["annotations"]]), "coco"
    )
    (problem,) = map(str, listing.problems)
    assert "category_id 8 is none of its categories (objects of 7.tif); add it to" in problem
    assert found(listing) == {"dog/007": [ODD, "dog"], "_none/a": []}


def test_a_coco_file_that_is_no_json(root):
    (root / "annotations.json").write_text("{")
    assert "annotations.json: not valid JSON" in problems(root, "coco")[0]


def test_objects_of_a_category_background_are_skipped(root):
    categories = [*COCO["categories"], {"id": 8, "name": "Background"}]
    crowd = {"image_id": 1, "category_id": 8, "segmentation": [[0, 0, 9, 0, 9, 9]], "area": 99}
    listing = listed(
        coco(root, categories=categories, annotations=[*COCO["annotations"], crowd]), "coco"
    )
    assert not listing.problems
    assert found(listing)["dog/007"] == [ODD, "dog"]
    assert len(listing.splits["train"][0].shapes) == 2


def test_categories_of_coco_are_the_same_name_however_composed(root):
    categories = [{"id": 7, "name": "cafe\u0301"}, *COCO["categories"][1:]]
    assert listed(coco(root, categories=categories), "coco", classes=["caf\xe9"]).problems == []


def test_objects_of_another_size_are_not_drawn(root):
    """Of a photograph that was made smaller after it was annotated, or turned."""
    images = [
        {**COCO["images"][0], "file_name": "dog/007.png", "width": 120, "height": 80},
        {**COCO["images"][1], "width": 12.0, "height": 8.0},
        COCO["images"][2],
    ]
    dataset = settings(coco(root, images=images), "coco", val_list="annotations.json")
    index = build_index("val", root, dataset, root / "made", 1, list_dataset(root, dataset))
    assert index.left_out == ["dog/007"]
    (problem,) = map(str, index.problems)
    assert "annotations.json: image 1: its objects were annotated at 120x80, but" in problem
    assert "dog/007.png has 12x8 pixels; use the photographs that were annotated" in problem


@pytest.mark.parametrize("runs", [{"size": [8, 12], "counts": [5]}, {"counts": []}, [[1]], [["a"]]])
def test_a_malformed_segmentation_is_a_problem_of_its_photograph(root, runs):
    shapes = [{"image_id": 1, "category_id": 7, "segmentation": runs}]
    dataset = settings(coco(root, annotations=shapes), "coco", val_list="annotations.json")
    index = build_index("val", root, dataset, root / "made", 1, list_dataset(root, dataset))
    assert index.left_out == ["dog/007"]
    assert "image 1: a segmentation cannot be drawn" in str(index.problems[0])


def xml(root: Path, name: str, *classes: str, filename: str = "") -> None:
    objects = "".join(f"<object><name>{c}</name><part><name>tail</name></part></object>"
                      for c in classes)  # fmt: skip
    file = root / "Annotations" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"<annotation><filename>{filename}</filename>{objects}</annotation>")


@pytest.fixture
def annotated(tmp_path):
    for name in ("007.jpg", "008.PNG", "sub/9.jpeg"):
        photograph(tmp_path / "JPEGImages" / name)
    xml(tmp_path, "007.xml", "dog", "cat", "dog")
    xml(tmp_path, "008.xml")
    xml(tmp_path, "sub/other.xml", ODD, filename="9.jpeg")
    return tmp_path


def test_an_xml_file_for_each_photograph(annotated):
    listing = listed(annotated, "voc-xml")
    assert not listing.problems
    assert listing.classes == [ODD, "cat", "dog"]
    assert found(listing) == {"007": ["cat", "dog"], "008": [], "sub/9": [ODD]}


def test_xml_files_of_one_name_in_several_folders(tmp_path):
    """An XML file's folders are those of its photograph, or <filename> tells it."""
    for name in ("a/1.jpg", "b/1.jpg", "c/2.jpg"):
        photograph(tmp_path / "JPEGImages" / name)
    xml(tmp_path, "a/1.xml", "dog", filename="1.jpg")
    xml(tmp_path, "b/1.xml", "cat", filename="1.jpg")
    xml(tmp_path, "x/1.xml", "cow", filename="c\\2.jpg")
    listing = listed(tmp_path, "voc-xml")
    assert not listing.problems
    assert found(listing) == {"a/1": ["dog"], "b/1": ["cat"], "c/2": ["cow"]}
    beside = listed(tmp_path, "voc-xml", train_list="Annotations/b")
    assert found(beside) == {"b/1": ["cat"]}


def test_a_photograph_that_is_annotated_twice(annotated):
    xml(annotated, "z/007.xml", "cow", filename="007.jpg")
    (problem,) = problems(annotated, "voc-xml")
    assert problem.startswith(
        "Annotations/z/007.xml: 007.jpg is annotated twice: Annotations/007.x"
    )


def test_xml_files_beside_photographs(tmp_path):
    for split in ("train", "val"):
        photograph(tmp_path / split / "1.jpg")
        xml(tmp_path, f"../{split}/1.xml", "dog", filename="1.jpg")
    more = {"images": "", "train_list": "train", "val_list": "val"}
    listing = listed(tmp_path, "voc-xml", **more)
    assert not listing.problems
    assert (found(listing), found(listing, "val")) == ({"train/1": ["dog"]}, {"val/1": ["dog"]})


def test_lists_of_xml_files(annotated):
    lists = annotated / "ImageSets/Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("007 1\n")
    (lists / "val.txt").write_text("008 -1\nghost\n")
    names = {f"{split}_list": f"ImageSets/Main/{split}.txt" for split in ("train", "val")}
    listing = listed(annotated, "voc-xml", **names)
    assert (found(listing), found(listing, "val")) == ({"007": ["cat", "dog"]}, {"008": []})
    assert "val.txt:2: " in str(listing.problems[0])
    assert "ghost.xml is missing; add it, or take its line out" in str(listing.problems[0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotation>", "007.xml: not valid XML (no element found"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotation/>', "has a DOCTYPE, which is refused"),
        ("<html/>", "its root is <html>, not <annotation>"),
        ("<annotation><object/></annotation>", "has an object without a name"),
    ],
)
def test_wrong_xml_files(annotated, text, message):
    (annotated / "Annotations/007.xml").write_text(text)
    (problem,) = problems(annotated, "voc-xml")
    assert message in problem


def test_formats_that_need_a_folder_or_other_labels(tmp_path):
    for more, message in (
        ({"root": ""}, "dataset.format: folders needs dataset.root"),
        ({"labels_from": "masks", "masks": "m"}, "labels_from: masks is of the format voc"),
    ):
        with pytest.raises(Exception, match=message):
            settings(tmp_path, "folders", **more)


def test_folders_of_saliency_maps_and_of_results_hold_no_photographs(root):
    before = found(listed(root, "folders"))
    for name in ("saliency_maps/dog/007.png", "results/mine/predictions/dog/007.png"):
        photograph(root / name, "gray")
    outside = [root / "saliency_maps", root / "results"]
    listing = list_dataset(root, settings(root, "folders"), outside)
    assert (found(listing), listing.warnings) == (before, [])


@pytest.mark.parametrize(
    ("name", "said"),
    [("Masks", "masks, name the folder in dataset.masks"),
     ("sal_maps", "saliency maps, name the folder in saliency.location")],
)  # fmt: skip
def test_a_class_that_is_masks_or_maps_by_its_names_is_warned_of(root, name, said):
    photograph(root / name / "dog/7.png", "gray")
    (warning,) = listed(root, "folders").warnings
    assert warning == (
        f"{root}/{name}: counts as a class, but its files have the names of photographs (7): "
        f"if they are {said}"
    )


def test_classes_with_and_without_masks_are_classes(tmp_path):
    photograph(tmp_path / "with_mask/1.png", "red")
    photograph(tmp_path / "without_mask/1.png", "blue")
    assert listed(tmp_path, "folders").warnings == []
