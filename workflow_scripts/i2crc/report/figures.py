"""The style of the report's figures, bar charts, and SVG files with reproducible bytes."""

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from itertools import cycle, zip_longest

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from i2crc.report.pages import render

WIDTH = 9.4  # inches, which are 900 px on a screen
LETTERS = 28  # longest class name
VALUES_UP_TO = 25  # labels of a bar chart whose bars have their values beside them
# The palette of Okabe and Ito, distinguishable with any colour vision.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#444444")
NOT_SCORED = "not scored: no ground-truth masks"

matplotlib.rcdefaults()  # the user's matplotlibrc must not change the figures
matplotlib.rcParams.update(
    {
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": 9.5,
        "axes.titlesize": 10.5,
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "grid.color": "#e3e6ea",
        "legend.frameon": False,
        "text.parse_math": False,  # a class name may contain dollar signs
        "svg.fonttype": "none",
        "svg.hashsalt": "i2crc",
    }
)


def svg(figure: Figure) -> bytes:
    """Return a figure as SVG, with text as text; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The text stays text: a browser has fonts for the letters that this machine lacks.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    drawn = buffer.getvalue()
    # Matplotlib names clip paths by the last bits of the layout, which differ between processes.
    paths = dict.fromkeys(re.findall(rb'<clipPath id="(\w+)"', drawn))
    for number, path in enumerate(paths):
        drawn = drawn.replace(path, b"clip-%d" % number)
    return drawn


def inline_svg(figure: Figure) -> Markup:
    """Return a figure as the SVG element of an HTML page. A page has one such figure at most.

    It grows with the page, but not until its letters are huge. It shrinks, but not until nobody can
    read them: then it scrolls in its place.
    """
    document = svg(figure).decode()
    least, most = (pixels * figure.get_figwidth() for pixels in (80, 120))
    widths = f'class="chart" style="min-width: {least:.0f}px; max-width: {most:.0f}px"'
    return Markup(f"<svg {widths}{document[document.index('<svg') + 4 :]}")


def figure_page(template: str, figure: Figure) -> Markup:
    """Return the HTML page of a figure; its template extends figure.html and has the caption."""
    return render(template, figure=inline_svg(figure))


def headline(figure: Figure, title: str, drawn: Axes | None = None, columns: int = 1) -> None:
    """Add the title of a figure and, if `drawn` is given, the legend of these axes."""
    handles = drawn.get_legend_handles_labels() if drawn else ([], [])
    figure.legend(
        *handles, loc="outside upper left", ncols=columns,
        title=title, title_fontsize="x-large", alignment="left",
    )  # fmt: skip


def message_figure(title: str, message: str) -> Figure:
    """Return a figure that shows a message in place of a drawing."""
    figure = Figure(figsize=(WIDTH, 0.9), layout="constrained")
    headline(figure, title)
    figure.text(0.01, 0.3, message, color="#b42318")
    return figure


def bar_chart(
    unit: str, labels: Sequence[str], series: Mapping[str, Sequence[float | None]]
) -> Figure:
    """Return horizontal bars, the first label on top; the height grows with their number.

    Each of `series` has a colour, and a value per label (None: not measured, no bar). The values
    stand beside the bars where there is room: for a few labels, or a single series. The caller adds
    the title.
    """
    few = len(labels) <= VALUES_UP_TO
    bar = 0.16 if few else 0.09
    height = 1.2 + 0.09 * len(series) + len(labels) * (0.09 + bar * max(len(series), 1.5))
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.add_subplot(xlabel=unit)
    texts = [["-" if v is None else f"{v:.3f}" for v in values] for values in series.values()]
    draw_bars(axes, labels, series, texts if few or len(series) == 1 else [])
    return figure


def shortened(name: str) -> str:
    """Return a class name as it stands beside an axis."""
    return name if len(name) <= LETTERS else f"{name[: LETTERS - 1]}…"


def draw_bars(
    axes: Axes,
    labels: Sequence[str],
    series: Mapping[str, Sequence[float | None]],
    texts: Sequence[Sequence[str]],
) -> None:
    """Draw the bars of a `bar_chart` into axes; `texts` of each series stand beside its bars."""
    thickness = 0.8 / len(series)
    rows = np.arange(len(labels)) - 0.4 + thickness / 2
    drawn = zip_longest(series.items(), texts)
    for ((name, values), shown), color in zip(drawn, cycle(COLORS), strict=False):
        widths = [value or 0.0 for value in values]
        bars = axes.barh(rows, widths, thickness, label=name, color=color)
        rows += thickness
        if shown:
            axes.bar_label(bars, shown, padding=3, fontsize=8.5)
    axes.set_yticks(range(len(labels)), [shortened(label) for label in labels])
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.grid(axis="x")
