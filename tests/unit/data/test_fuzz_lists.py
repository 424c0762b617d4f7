"""Label lists of any text and any bytes: valid rows, or problems; never another error."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from i2crc.data.label_lists import read_label_list

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
