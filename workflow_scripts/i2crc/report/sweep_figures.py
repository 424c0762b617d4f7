"""The threshold sweeps: a figure of their curves, and a page that compares configured and best."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from i2crc.report.figures import COLORS, NOT_SCORED, WIDTH, headline, message_figure
from i2crc.report.pages import Cell, render

MEASURES = {
    "miou": "mIoU, 255 left out",
    "miou_255_as_background": "255 as background",
    "miou_255_as_wrong": "255 as wrong",
}
STYLES = ("-", "--", ":")  # equal curves stay visible
ORACLE = "oracle (uses ground truth)"
HEADER = (
    "Parameter", "Measure", "Configured", "Score", "Coverage",
    "Oracle value (uses ground truth)", "Oracle score", "Oracle coverage", "Gain",
)  # fmt: skip


def sweep_figure(sweeps: list[dict[str, Any]]) -> Figure:
    """Return, per parameter, the three mIoUs over its value and, below, the coverage."""
    title = f"Threshold sweeps on {sweeps[0]['split']}"
    scored = [sweep for sweep in sweeps if sweep["fixed"]]
    if not scored:
        return message_figure(title, NOT_SCORED)
    rows = -(-len(scored) // 2)
    figure = Figure(figsize=(WIDTH, 3.2 * rows + 0.9), layout="constrained")
    grid = figure.add_gridspec(rows, 2)
    for number, sweep in enumerate(scored):
        cell = grid[number // 2, number % 2].subgridspec(2, 1, height_ratios=(3, 1))
        scores = figure.add_subplot(cell[0], ylabel="mIoU (0 to 1)")
        coverage = figure.add_subplot(cell[1], sharex=scores, ylabel="coverage")
        plot_sweep(scores, coverage, sweep)
    headline(figure, title, scores, columns=3)
    return figure


def plot_sweep(scores: Axes, coverage: Axes, sweep: dict[str, Any]) -> None:
    """Draw one sweep into its two axes."""
    values = [point["value"] for point in sweep["points"]]
    for (measure, name), color, style in zip(MEASURES.items(), COLORS, STYLES, strict=False):
        curve = [point[measure] for point in sweep["points"]]
        scores.plot(values, curve, style, color=color, marker=".", label=name)
    for (measure, best), color in zip(sweep["oracle"].items(), COLORS, strict=False):
        label = ORACLE if measure == "miou" else None
        scores.plot(
            best["value"], best[measure], "*", color=color, markersize=13,
            markeredgecolor="black", markeredgewidth=0.6, label=label, zorder=3,
        )  # fmt: skip
    covered = [point["coverage"] for point in sweep["points"]]
    coverage.plot(values, covered, marker=".", color=COLORS[6])
    for axes in (scores, coverage):
        axes.axvline(
            sweep["fixed"]["value"], color="black", linewidth=1, linestyle="-.", label="configured"
        )
        axes.grid()
    scores.tick_params(labelbottom=False)
    scores.set_title(sweep["parameter"])
    coverage.set_ylim(-0.05, 1.05)
    coverage.set_xlabel("value")


def sweep_page(sweeps: list[dict[str, Any]]) -> str:
    """Return an HTML page with the configured and the oracle value per parameter and measure."""
    scored = [sweep for sweep in sweeps if sweep["fixed"]]
    return render(
        "sweeps.html",
        title=f"Threshold sweeps on {sweeps[0]['split']}",
        not_scored=NOT_SCORED,
        unscored=[sweep["parameter"] for sweep in sweeps if not sweep["fixed"]],
        header=HEADER,
        rows=[table_row(sweep, measure) for sweep in scored for measure in MEASURES],
    )


def table_row(sweep: dict[str, Any], measure: str) -> list[Cell]:
    """Return the values and scores of a sweep, and the gain of the oracle value, under HEADER."""
    fixed, best = sweep["fixed"], sweep["oracle"][measure]
    return [
        sweep["parameter"], MEASURES[measure], f"{fixed['value']:g}", fixed[measure],
        fixed["coverage"], f"{best['value']:g}", best[measure], best["coverage"],
        best[measure] - fixed[measure],
    ]  # fmt: skip
