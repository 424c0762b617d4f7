"""Plot the threshold sweeps, and put the configured and the best values into a table."""

import argparse
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from i2crc.artifacts.provenance import Origin, write_beside
from i2crc.artifacts.schemas import Sweep, read_checked
from i2crc.report.figures import COLORS, NOT_SCORED, WIDTH, headline, message_figure, svg
from i2crc.report.pages import html_table, page
from i2crc.runtime.atomic import write_bytes
from i2crc.runtime.parser import make_parser, run

MEASURES = {
    "miou": "mIoU, 255 left out",
    "miou_255_as_background": "255 as background",
    "miou_255_as_wrong": "255 as wrong",
}
STYLES = ("-", "--", ":")  # equal curves stay visible
ORACLE = "oracle (uses ground truth)"
EXPLANATION = """<p>Each parameter is swept alone, all others as configured. The oracle value is the
best of those tried <em>as judged on the ground-truth masks</em>: it says how much a threshold could
gain, and the pipeline never uses it.</p>"""


def sweep_figure(sweeps: list[dict[str, Any]]) -> Figure:
    """Per parameter, the three mIoUs over its value and, below, the coverage."""
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
    """One sweep into its two axes."""
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
    """An HTML page: per parameter and measure, the configured and the oracle value and scores."""
    header = [
        "Parameter", "Measure", "Configured", "Score", "Coverage",
        "Oracle value (uses ground truth)", "Oracle score", "Oracle coverage", "Gain",
    ]  # fmt: skip
    scored = [sweep for sweep in sweeps if sweep["fixed"]]
    rows = [table_row(sweep, measure) for sweep in scored for measure in MEASURES]
    unscored = [sweep["parameter"] for sweep in sweeps if not sweep["fixed"]]
    note = f"<p>{NOT_SCORED} ({', '.join(unscored)})</p>" if unscored else ""
    table = html_table(header, rows) if rows else ""
    return page(f"Threshold sweeps on {sweeps[0]['split']}", EXPLANATION, note, table)


def table_row(sweep: dict[str, Any], measure: str) -> list[Any]:
    """Values, scores and the gain of a sweep's oracle over the configured value."""
    fixed, best = sweep["fixed"], sweep["oracle"][measure]
    return [
        sweep["parameter"], MEASURES[measure], f"{fixed['value']:g}", fixed[measure],
        fixed["coverage"], f"{best['value']:g}", best[measure], best["coverage"],
        best[measure] - fixed[measure],
    ]  # fmt: skip


def main(arguments: argparse.Namespace) -> None:
    origin = Origin(Path(__file__), arguments.sweeps)
    sweeps = [read_checked(path, Sweep) for path in arguments.sweeps]
    contents = {
        arguments.output: svg(sweep_figure(sweeps)),
        arguments.table: sweep_page(sweeps).encode(),
    }
    for output, content in contents.items():
        write_bytes(output, content)
        write_beside(output, origin.describe(output))


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--sweeps", type=Path, nargs="+", required=True, help="sweeps as JSON")
    parser.add_argument("--output", type=Path, required=True, help="output: curves as SVG")
    parser.add_argument("--table", type=Path, required=True, help="output: table as HTML")
    run(main, parser)
