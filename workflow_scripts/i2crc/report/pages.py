"""Small self-contained HTML pages and Markdown tables for the report."""

from collections.abc import Sequence
from html import escape

Cell = str | int | float | None

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1f2328; background: #fff; margin: 1.5rem; }
h1 { font-size: 1.35rem; } h2 { font-size: 1.1rem; margin-top: 1.6rem; }
table { border-collapse: collapse; margin: .6rem 0; }
th, td { border-bottom: 1px solid #d0d7de; padding: .3rem .7rem; text-align: left; }
th { background: #f6f8fa; } td.number { text-align: right; font-variant-numeric: tabular-nums; }
p.banner { background: #b42318; color: #fff; font-weight: 600; padding: .7rem 1rem; }
pre { background: #f6f8fa; padding: .8rem; overflow-x: auto; }
"""


def page(title: str, *parts: str) -> str:
    """An HTML document of `parts`, which are HTML already."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}'
        f"</title><style>{STYLE}</style></head>\n<body>\n<h1>{escape(title)}</h1>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def html_table(header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """An HTML table; numbers are right-aligned, every text is escaped."""
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    lines = [f"<table><thead><tr>{head}</tr></thead><tbody>"]
    for row in rows:
        cells = "".join(
            f'<td class="number">{text(value)}</td>'
            if isinstance(value, int | float)
            else f"<td>{escape(text(value))}</td>"
            for value in row
        )
        lines.append(f"<tr>{cells}</tr>")
    return "\n".join([*lines, "</tbody></table>"])


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """A Markdown table whose columns line up."""
    lines = [list(header), *([text(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    drawn = [
        "| " + " | ".join(f"{c:<{w}}" for c, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    ]
    drawn.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(drawn) + "\n"


def banner(message: str) -> str:
    """A warning that nobody can miss."""
    return f'<p class="banner">{escape(message)}</p>'


def text(value: Cell) -> str:
    """Fractions with four digits, - for what was not measured, everything else as it is."""
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
