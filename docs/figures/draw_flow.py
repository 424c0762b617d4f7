"""Draw docs/figures/flow.svg: the stages of both rounds and the files between them."""

from pathlib import Path
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 960, 500
BOX_WIDTH, BOX_HEIGHT = 150, 44
LEFTS = (20, 215, 410, 605, 790)
INPUT, TRAINING, SHARDED, WHOLE = "#eef2f6", "#ffe3c2", "#d3e9ff", "#dff3dc"
# Name, second line, column, top, colour.
BOXES = (
    ("photographs", "image-level labels", 0, 30, INPUT),
    ("saliency maps", "one of each photograph", 1, 30, INPUT),
    ("masks", "only to score", 4, 30, INPUT),
    ("train_classifier", "relation losses", 0, 130, TRAINING),
    ("infer_cam", "attention maps", 1, 130, SHARDED),
    ("gen_gt", "initial labels", 2, 130, SHARDED),
    ("train_segmentation", "round initial", 0, 250, TRAINING),
    ("predict", "training photographs", 1, 250, SHARDED),
    ("crf", "training photographs", 2, 250, SHARDED),
    ("refine_labels", "refined labels", 3, 250, SHARDED),
    ("train_segmentation", "round final", 0, 370, TRAINING),
    ("predict", "validation photographs", 1, 370, SHARDED),
    ("crf", "validation photographs", 2, 370, SHARDED),
    ("score", "every stage with pixels", 3, 370, WHOLE),
    ("report", "one HTML file", 4, 370, WHOLE),
)
LEGEND = (("input", INPUT), ("training", TRAINING), ("in shards", SHARDED), ("other", WHOLE))


def middle(column: int) -> float:
    """Return the x coordinate of the centre of a column."""
    return LEFTS[column] + BOX_WIDTH / 2


def box(name: str, note: str, column: int, top: int, color: str) -> str:
    """Return a stage or an input; one that runs in shards as a stack."""
    left = LEFTS[column]
    shape = f'width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6" fill="{color}" stroke="#57606a"'
    back = f'<rect x="{left + 5}" y="{top - 5}" {shape}/>' if color == SHARDED else ""
    return (
        f'{back}<rect x="{left}" y="{top}" {shape}/>'
        f'<text x="{middle(column)}" y="{top + 19}" class="name">{escape(name)}</text>'
        f'<text x="{middle(column)}" y="{top + 35}" class="note">{escape(note)}</text>'
    )


def arrow(*points: tuple[float, float]) -> str:
    """Return a line through some points with a head at its end."""
    path = " ".join(f"{x:g},{y:g}" for x, y in points)
    return f'<polyline points="{path}" class="line" marker-end="url(#head)"/>'


def elbow(start: float, top: float, level: float, end: float, bottom: float) -> str:
    """Return an arrow from (start, top) down to a level, across, and down to (end, bottom)."""
    return arrow((start, top), (start, level), (end, level), (end, bottom - 2))


def along(row: int, first: int, last: int) -> list[str]:
    """Return the arrows from box to box of the row whose boxes begin at the height `row`."""
    y = row + BOX_HEIGHT / 2
    return [
        arrow((LEFTS[column] + BOX_WIDTH, y), (LEFTS[column + 1] - 2, y))
        for column in range(first, last)
    ]


def arrows() -> list[str]:
    """Return all arrows: along each row, from the inputs down, and from round to round."""
    return [
        *along(130, 0, 2),
        *along(250, 0, 3),
        *along(370, 0, 4),
        arrow((middle(0), 74), (middle(0), 128)),
        # The saliency maps go to the classifier and to the initial labels.
        elbow(middle(1) - 40, 74, 100, middle(0) + 40, 130),
        elbow(middle(1) + 40, 74, 100, middle(2) - 30, 125),
        # The initial labels go to the first training and to their refinement.
        elbow(middle(2), 174, 212, middle(0), 250),
        elbow(middle(2), 174, 212, middle(3), 245),
        elbow(middle(3), 294, 332, middle(0), 370),
        elbow(middle(4), 74, 332, middle(3) + 40, 370),
    ]


def legend() -> list[str]:
    """Return the meaning of the colours, in one line."""
    parts = []
    for number, (text, color) in enumerate(LEGEND):
        x = LEFTS[0] + number * 110
        parts.append(
            f'<rect x="{x}" y="456" width="16" height="16" fill="{color}" stroke="#57606a"/>'
        )
        parts.append(f'<text x="{x + 24}" y="469" class="key">{text}</text>')
    return parts


STYLE = (
    "text{font-family:sans-serif;fill:#1f2328}.name{font-size:14px;text-anchor:middle}"
    ".note{font-size:11px;text-anchor:middle;fill:#57606a}.key{font-size:12px}"
    ".line{fill:none;stroke:#57606a;stroke-width:1.5}"
)
HEAD = (
    '<marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
    'orient="auto"><path d="M0,0 L10,5 L0,10 z" fill="#57606a"/></marker>'
)

if __name__ == "__main__":
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        "<title>The stages of both rounds</title>",
        f"<style>{STYLE}</style><defs>{HEAD}</defs>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        *arrows(),
        *(box(*one) for one in BOXES),
        *legend(),
        "</svg>",
    ]
    Path(__file__).with_name("flow.svg").write_text("\n".join(parts) + "\n")
