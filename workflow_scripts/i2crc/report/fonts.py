"""Find a font that has the letters of a class name."""

from functools import cache
from pathlib import Path

from matplotlib import get_data_path
from matplotlib.font_manager import fontManager
from matplotlib.ft2font import FT2Font

# It comes with matplotlib, and has Latin, Greek, Cyrillic and Arabic letters, but no Chinese ones.
DEJAVU = str(Path(get_data_path(), "fonts/ttf/DejaVuSans.ttf"))
# It comes with matplotlib, too, and has a box for every letter.
BOXES = "Last Resort"


def font_file(text: str) -> str:
    """Return DejaVu Sans, or an installed font that has those letters of a text that it lacks."""
    missing = frozenset(map(ord, text)) - _letters(DEJAVU)
    return _installed_font(missing) if missing else DEJAVU


@cache
def _installed_font(missing: frozenset[int]) -> str:
    files = {str(font.fname) for font in fontManager.ttflist if not font.name.startswith(BOXES)}
    return next((file for file in sorted(files) if missing <= _letters(file)), DEJAVU)


@cache
def _letters(file: str) -> frozenset[int]:
    try:
        return frozenset(FT2Font(file).get_charmap())
    except (OSError, RuntimeError):  # deleted since matplotlib listed it, or damaged
        return frozenset()
