"""Label lists of any text and any bytes: sound rows, or problems told; never another error."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from i2crc.dataset import read_label_list
from i2crc.files import InputError

CLASSES = 3
PIECES = st.sampled_from(
    ["a", "b", "2007_000027", "a.b", "../x", "/x", ".", "..", "0", "2", "3", "-1", "1e3", "\u0663",
     "\u00e9", '"', "'", ",", ";", " ", "\t", "\n", "\r\n", "\0", "\x0b", "\x1b", "\u2028", "#"]
)  # fmt: skip


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("lists") / "list.txt"


def assert_sound_or_told(file, content: bytes) -> None:
    file.write_bytes(content)
    try:
        found = read_label_list(file, CLASSES)
    except InputError as error:
        assert str(file) in str(error)
        return
    # Either the rows, or the rows and what is wrong with others.
    rows, problems = found if isinstance(found, tuple) else (found, [])
    assert rows or problems
    assert all(str(file) in str(problem) for problem in problems)
    ids = [name for name, _ in rows]
    assert len(set(ids)) == len(ids)
    assert all(name and name == name.strip() and "\n" not in name for name in ids)
    for _, classes in rows:
        assert classes is None or (classes and classes == sorted(set(classes)))
        assert all(0 <= number < CLASSES for number in classes or ())


@given(st.lists(PIECES, max_size=25).map("".join))
@example("a " + "9" * 5000)
@example("a 000000000005")
@example("a \u00b2")
@example('"a\n0')
@example("a,0," + '"' * 99)
@example("x" * 200_000)
def test_any_text_in_the_forms_of_a_list(file, text):
    assert_sound_or_told(file, text.encode())


@given(st.text(max_size=60))
def test_any_text(file, text):
    assert_sound_or_told(file, text.encode(errors="replace"))


@given(st.binary(max_size=60))
def test_any_bytes(file, content):
    assert_sound_or_told(file, content)
