"""The style of the report's figures, bar charts, and SVG files with reproducible bytes."""

import io
import re
from collections.abc import Mapping, Sequence
from itertools import cycle

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

WIDTH = 9.4  # inches, which are 900 px on a screen
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
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    drawn = buffer.getvalue()
    # Matplotlib names clip paths by the last bits of the layout, which differ between processes.
    paths = dict.fromkeys(re.findall(rb'<clipPath id="(\w+)"', drawn))
    for number, path in enumerate(paths):
        drawn = drawn.replace(path, b"clip-%d" % number)
    return drawn


def inline_svg(figure: Figure) -> Markup:
    """Return a figure as the SVG element of an HTML page. A page has one such figure at most."""
    document = svg(figure).decode()
    return Markup(document[document.index("<svg") :])


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

    Each of `series` has a colour, and a value per label (None: not measured, no bar). The values of
    a single series are written beside its bars. The caller adds the title.
    """
    height = 1.2 + len(labels) * (0.09 + 0.09 * max(len(series), 1.5))
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.add_subplot(xlabel=unit)
    thickness = 0.8 / len(series)
    rows = np.arange(len(labels)) - 0.4 + thickness / 2
    for (name, values), color in zip(series.items(), cycle(COLORS), strict=False):
        widths = [value or 0.0 for value in values]
        bars = axes.barh(rows, widths, thickness, label=name, color=color)
        rows += thickness
        if len(series) == 1:
            shown = ["-" if value is None else f"{value:.3f}" for value in values]
            axes.bar_label(bars, shown, padding=3)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.grid(axis="x")
    return figure
