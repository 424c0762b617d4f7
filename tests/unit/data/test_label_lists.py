"""Label lists of every kind: rows of the good ones, problems of the bad ones line by line."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from i2crc.data.label_lists import LONGEST_ID, read_label_list

CLASSES = ["cat", "dog", "dining table"]


def read(tmp_path, content: bytes | str, name: str = "list.txt", classes=CLASSES):
    """The rows (id, classes) and the problems (without the folder) of a list."""
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    rows, problems = read_label_list(file, classes)
    reported = [str(problem).removeprefix(f"{tmp_path}/") for problem in problems]
    return [(row.id, row.classes) for row in rows], reported


@pytest.mark.parametrize(
    "content",
    [
        b"a 0\nb 1 2\nc\n",
        b"a 0\r\nb 1 2\r\nc\r\n",
        b"a 0\rb 1 2\rc\r",
        b"\xef\xbb\xbfa 0\nb 1 2\nc\n",
        b"a 0\nb 1 2\nc",
        b"\na  0 \n\n b\t2 1 2\nc \n\n",
        b"a cat\nb dog 2 1\nc\n",
    ],
    ids=["plain", "CRLF", "CR", "BOM", "no final newline", "blanks, a class twice", "names"],
)
def test_list_is_read(tmp_path, content):
    assert read(tmp_path, content) == ([("a", [0]), ("b", [1, 2]), ("c", None)], [])


@pytest.mark.parametrize(
    "content",
    [
        'a,0\n"b c, d",1,2\ne\n',
        'a, 0\r\n"b c, d", 1 , dining table\r\ne,,\r\n',
        '\ufeff"a","cat"\n"b c, d","2 1"\n\n"e"',
    ],
)
def test_csv_is_read(tmp_path, content):
    expected = [("a", [0]), ("b c, d", [1, 2]), ("e", None)]
    assert read(tmp_path, content, "list.csv") == (expected, [])


@pytest.mark.parametrize(
    "name", ["a.b.c", "-rf", "$(touch)", "a;b", "'", '"', "*", "é", "e\u0301", "猫", "a\\b"]
)
def test_strange_names_are_names(tmp_path, name):
    assert read(tmp_path, f"{name} 0\n") == ([(name, [0])], [])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("b 0\na 0\nb 2\n", "list.txt:3: image 'b' is listed in line 1 too; take one"),
        ("a 0\nb 3\n", "list.txt:2: '3': no class; classes are the numbers 0 to 2, or their names"),
        ("a -1\n", "list.txt:1: '-1': no class"),
        ("a 0\nb dgo\n", "or their names; the nearest is 'dog'"),
        ("id class\na 0\n", "list.txt:1: 'class': no class"),
        ("id class\na 0\n", "(if the line is a heading, delete it)"),
        ("a " + "9" * 5000, "list.txt:1: '999"),
        ("../a 0\n", "list.txt:1: image '../a' is not a plain file name"),
        ("/etc/passwd 0\n", "image '/etc/passwd' is not a plain file name; give the name of the"),
        ("a/b 0\n", "image 'a/b' is not a plain file name"),
        (".DS_Store 0\n", "list.txt:1: image '.DS_Store' is a hidden file and no photograph; take"),
        ("a\0b 0\n", "image 'a\\x00b' has a character that cannot be printed; rename the image"),
        ("a\x1b[31m 0\n", "has a character that cannot be printed"),
        ("a 0\n\ufeffb 0\n", "list.txt:2: image '\\ufeffb' has a character"),
        ("a\u2028 0\n", "has a character that cannot be printed"),
        ("猫" * 67 + " 0\n", "has a name of 201 bytes; rename the image"),
        ("", "list.txt: lists no image; write a line for each"),
        (" \n\n", "list.txt: lists no image"),
        ("a 0\n".encode("utf-16"), "list.txt: not UTF-8"),
    ],
)
def test_bad_line_is_named(tmp_path, content, message):
    _, problems = read(tmp_path, content)
    assert len(problems) == 1
    assert message in problems[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('a,0\n"b,0\n', "list.csv:2: no line of CSV (unexpected end of data); correct its quotes"),
        ('"a"b,0\n', "list.csv:1: no line of CSV"),
        ('"a\nb",0\n', "image 'a\\nb' has a character that cannot be printed"),
        (",0\n", "image '' is not a plain file name"),
    ],
)
def test_bad_csv_is_named(tmp_path, content, message):
    _, problems = read(tmp_path, content, "list.csv")
    assert len(problems) == 1
    assert message in problems[0]


def test_all_bad_lines_are_reported(tmp_path):
    rows, problems = read(tmp_path, "a 0\na 1\nb 7 8\nc x\n")
    assert [problem.split(":")[1] for problem in problems] == ["2", "3", "4"]
    assert "'7', '8': no class" in problems[1]
    # Their photographs are checked nevertheless.
    assert [image_id for image_id, _ in rows] == ["a", "b", "c"]


def test_without_class_names_ids_are_read(tmp_path):
    assert read(tmp_path, "a 0\nb cat\n", classes=None)[1] == []


def test_none_is_the_word_for_no_class(tmp_path):
    rows, problems = read(tmp_path, "a _none\nb\nc _none 0\n")
    assert rows == [("a", []), ("b", None), ("c", [0])]
    assert problems == ["list.txt:3: says _none (no class) and names a class; take one of them out"]


def test_numbers_are_never_taken_for_names(tmp_path):
    rows, problems = read(tmp_path, "a 1\nb 3\n", classes=["1", "2", "3"])
    assert rows[0] == ("a", [1])
    assert len(problems) == 1 and "list.txt:2: '3': no class" in problems[0]


def test_missing_list_is_named(tmp_path):
    rows, (problem,) = read_label_list(tmp_path / "none.txt", CLASSES)
    assert not rows
    assert "none.txt: cannot be read (No such file or directory); check dataset.root" in str(
        problem
    )


@given(st.binary() | st.text().map(str.encode), st.sampled_from(["l.txt", "l.csv"]))
def test_any_content_gives_ids_of_files_or_problems(tmp_path_factory, content, name):
    file = tmp_path_factory.mktemp("lists") / name
    file.write_bytes(content)
    rows, problems = read_label_list(file, CLASSES)
    assert rows or problems
    for row in rows:
        assert (file.parent / row.id).parent == file.parent
        assert "\0" not in row.id
        assert len(row.id.encode()) <= LONGEST_ID


IDS = st.text(
    st.characters(exclude_categories=["C", "Zl", "Zp"], exclude_characters="/"), min_size=1
)


@given(st.lists(IDS.filter(lambda name: len(name.encode()) <= LONGEST_ID), min_size=1, unique=True))
def test_csv_carries_any_id(tmp_path_factory, ids):
    ids = [name for name in ids if not name.startswith((" ", "."))] or ["a"]
    file = tmp_path_factory.mktemp("lists") / "list.csv"
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([name, 1] for name in ids)
    file.write_bytes(text.getvalue().encode())
    rows, problems = read_label_list(file, CLASSES)
    assert not problems
    assert [(row.id, row.classes) for row in rows] == [(name, [1]) for name in ids]


def test_a_list_with_classes_of_its_own_is_one_problem(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("".join(f"i{n} {('leopard', 'tiger')[n % 2]}\n" for n in range(243)))
    rows, (problem,) = read_label_list(path, ["cat", "dog"])
    assert not any(row.usable for row in rows) and len(rows) == 243
    assert str(problem) == (
        f"{path}: 243 lines name classes (leopard, tiger) that this run does not have (its "
        "classes: cat, dog); set dataset.classes to the names of the list, or to [] if they are in "
        "classes.txt, or correct the list"
    )
