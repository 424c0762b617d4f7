"""Fonts for class names of any script: DejaVu Sans, or an installed font that has the letters."""

from pathlib import Path

import pytest
from matplotlib import get_data_path
from matplotlib.font_manager import FontEntry, fontManager

from i2crc.report import fonts

# From its file: a list of fonts that matplotlib has kept may lack it.
FILE = str(Path(get_data_path(), "fonts/ttf/LastResortHE-Regular.ttf"))
BOXES = FontEntry(fname=FILE, name=f"{fonts.BOXES} High-Efficiency")


@pytest.fixture(autouse=True)
def unknown_fonts():
    """No answer is kept from fonts that another test has installed."""
    fonts._installed_font.cache_clear()
    yield
    fonts._installed_font.cache_clear()


def install(monkeypatch, *files: str | Path) -> None:
    """Let these be all installed fonts, beside that of boxes."""
    entries = [FontEntry(fname=str(file), name="Other") for file in files]
    monkeypatch.setattr(fontManager, "ttflist", [BOXES, *entries])


def test_a_font_that_has_the_letters_is_taken(monkeypatch, tmp_path):
    damaged = tmp_path / "a.ttf"
    damaged.write_text("no font")
    # Last Resort is an ordinary font for the letters of any script if it has another name.
    install(monkeypatch, damaged, tmp_path / "missing.ttf", BOXES.fname)
    assert fonts.font_file("猫 cat") == BOXES.fname


@pytest.mark.parametrize("name", ["cat", "Größe", "кот", "قطة", "γάτα", ""])
def test_dejavu_has_the_letters_of_many_scripts(monkeypatch, name):
    install(monkeypatch, BOXES.fname)
    assert fonts.font_file(name) == fonts.DEJAVU


def test_without_such_a_font_it_is_dejavu(monkeypatch):
    install(monkeypatch)
    assert fonts.font_file("猫") == fonts.DEJAVU
