"""Self-contained HTML pages, from the templates of this package, and Markdown tables."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

Cell = str | int | float | None

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


def render(template: str, **values: Any) -> Markup:
    """Return a template of this package filled with `values`.

    Every text is escaped; only Markup (a table, an SVG element) is inserted as it is.
    """
    return Markup(TEMPLATES.get_template(template).render(values))


def html_table(header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Markup:
    """Return an HTML table. Numbers are right-aligned; a template calls this as `table`."""
    return render("table.html", header=header, rows=rows)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """Return a Markdown table whose columns line up."""
    lines = [list(header), *([text(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    padded = [[f"{c:<{w}}" for c, w in zip(line, widths, strict=True)] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in padded)


def text(value: Cell) -> str:
    """Return the text of a cell: fractions with three digits, `-` for None (not measured)."""
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


TEMPLATES.filters["cell"] = text
TEMPLATES.globals["table"] = html_table
