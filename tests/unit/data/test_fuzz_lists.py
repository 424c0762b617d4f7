"""Label lists of any text and any bytes: valid rows, or problems; never another error."""

import json
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from i2crc.config.load import load_config
from i2crc.data.label_lists import read_label_list
from i2crc.data.listing import list_dataset
from i2crc.data.shapes import draw_mask

CLASSES = ["cat", "dog", "cow"]
PIECES = st.sampled_from(
    ["a", "b", "2007_000027", "a.b", "../x", "/x", ".", "..", "0", "2", "3", "-1", "1e3", "\u0663",
     "\u00e9", '"', "'", ",", ";", " ", "\t", "\n", "\r\n", "\0", "\x0b", "\x1b", "\u2028", "#"]
)  # fmt: skip


@pytest.fixture(scope="module", params=["list.txt", "list.csv"])
def file(tmp_path_factory, request):
    return tmp_path_factory.mktemp("lists") / request.param


def assert_rows_or_problems(file, content: bytes) -> None:
    file.write_bytes(content)
    rows, problems = read_label_list(file, CLASSES)
    assert rows or problems
    assert all(str(file) in str(problem) for problem in problems)
    ids = [row.id for row in rows]
    assert len(set(ids)) == len(ids)
    assert all(name and "/" not in name and "\n" not in name and "\0" not in name for name in ids)
    for row in rows:
        assert row.classes is None or row.classes == sorted(set(row.classes)) != []
        assert all(0 <= number < len(CLASSES) for number in row.classes or ())


@given(st.lists(PIECES, max_size=25).map("".join))
@example("a " + "9" * 5000)
@example("a 000000000005")
@example("a \u00b2")
@example('"a\n0')
@example("a,0," + '"' * 99)
@example("x" * 200_000)
def test_any_text_in_the_forms_of_a_list(file, text):
    assert_rows_or_problems(file, text.encode())


@given(st.text(max_size=60))
def test_any_text(file, text):
    assert_rows_or_problems(file, text.encode(errors="replace"))


@given(st.binary(max_size=60))
def test_any_bytes(file, content):
    assert_rows_or_problems(file, content)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    for name in ("a.jpg", "b/a.jpg", "b/c.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    return folder


def is_explained(root, kind: str, name: str, content: bytes) -> bool:
    """Whether each photograph of a data set has known classes, or the data set has problems."""
    (root / name).write_bytes(content)
    dataset = {"format": kind, "root": str(root), "train_list": name}
    listed = list_dataset(root, load_config({"dataset": dataset}, "test").dataset)
    rows = listed.splits.get("train", [])
    assert all((root / row.file).is_file() for row in rows)
    return bool(listed.problems) or bool(rows and listed.classes)


FIELDS = st.sampled_from(["a.jpg", "b/c.png", "file", "labels", "cat", "", "\0", '"', "_none", "a"])
ROWS = st.lists(st.lists(FIELDS, max_size=4), max_size=4)


@given(ROWS, st.sampled_from(",;\t| "))
def test_any_table(photographs, rows, separator):
    text = "\n".join(separator.join(row) for row in rows)
    assert is_explained(photographs, "csv", "any.csv", text.encode())


SCRAPS = st.none() | st.integers(-1, 2) | st.floats() | st.sampled_from(["a.jpg", "cat", ""])
SCRAPS |= st.lists(SCRAPS, max_size=3) | st.dictionaries(
    st.sampled_from(["counts", "size"]), SCRAPS
)
KEYS = ("id", "file_name", "name", "image_id", "category_id", "segmentation", "area", "iscrowd")
ENTRIES = st.lists(st.dictionaries(st.sampled_from(KEYS), SCRAPS) | SCRAPS, max_size=3)


@given(st.dictionaries(st.sampled_from(["images", "categories", "annotations"]), ENTRIES))
def test_any_coco_file(photographs, content):
    assert is_explained(photographs, "coco", "any.json", json.dumps(content).encode())


@given(st.lists(st.dictionaries(st.sampled_from(KEYS[5:]), SCRAPS), max_size=3))
def test_any_shapes_give_a_mask_or_an_error_that_is_caught(shapes):
    with suppress(ValueError, TypeError, LookupError):
        mask = draw_mask([{"value": 1, **shape} for shape in shapes], (5, 4))
        assert mask.shape == (4, 5)


@given(st.text(alphabet="<>/annotationobjectname &;!DOCTYPE") | st.text())
def test_any_xml_file(photographs, text):
    (photographs / "x").mkdir(exist_ok=True)
    content = f"<annotation>{text}</annotation>".encode(errors="replace")
    (photographs / "x/a.xml").write_bytes(content)
    dataset = {"format": "voc-xml", "root": str(photographs), "images": "b", "train_list": "x"}
    assert list_dataset(photographs, load_config({"dataset": dataset}, "test").dataset).problems
