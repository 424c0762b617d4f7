"""The workflow of both rounds as one picture, with a photograph's pictures at every stage."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from markupsafe import Markup

from i2crc.report.pages import render

CELL, ROW = 128, 208  # width and height of the place of a step
MOST = 19  # longest text under a picture


@dataclass(frozen=True)
class Step:
    """A stage of the picture: its name, what made it, the address of its picture, its round."""

    name: str
    made_by: str
    picture: str
    round: str
    score: float | None = None


def flow_picture(steps: Sequence[Step], columns: int, paper: str = "") -> Markup:
    """Return the SVG element of the steps, `columns` in a row.

    Its text has the colour of the text around it; a file of its own needs a background, `paper`.
    """
    rows = [steps[start : start + columns] for start in range(0, len(steps), columns)]
    rounds = []
    for y, row in enumerate(rows):
        x = 0
        for name, members in groupby(step.round for step in row):
            count = len(list(members))
            rounds.append((x * CELL, y * ROW, count * CELL, name))
            x += count
    cells = [(x * CELL, y * ROW, s) for y, row in enumerate(rows) for x, s in enumerate(row)]
    size = min(columns, len(steps)) * CELL, len(rows) * ROW
    return render(
        "flow.svg", cells=cells, rounds=rounds, size=size, paper=paper, cell=CELL, most=MOST
    )
