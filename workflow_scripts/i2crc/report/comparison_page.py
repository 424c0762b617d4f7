"""The comparison of experiments as a figure, as Markdown and as an HTML page."""

import json
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from i2crc.report.figures import bar_chart, headline, inline_svg
from i2crc.report.pages import Cell, markdown_table, render


def comparison_figure(results: Sequence[dict[str, Any]], names: Sequence[str]) -> Figure:
    """Return bars of the mIoU (255 as background) of every stage, with intervals, per experiment.

    The first stage is on top. results: rows of `compare_stage`. names: the experiments.
    """
    stages = list(dict.fromkeys(row["stage"] for row in results))
    key = "miou_255_as_background"
    series = {n: [row[key] for row in results if row["experiment"] == n] for n in names}
    unit = "mIoU with 255 as background (0 to 1); black: its 95 % interval"
    figure = bar_chart(unit, stages, series)
    axes = figure.axes[0]
    for name, bars in zip(names, axes.containers, strict=True):
        rows = [row for row in results if row["experiment"] == name]
        for row, bar in zip(rows, bars, strict=True):
            height = bar.get_y() + bar.get_height() / 2
            limits = row[f"{key}_interval"] or [row[key]] * 2
            axes.plot(limits, [height, height], color="black")
    headline(figure, "mIoU of the experiments", axes, columns=2)
    return figure


def comparison_pages(content: dict[str, Any], figure: Figure) -> tuple[str, str]:
    """Return the comparison as Markdown, and as an HTML page with the figure on top.

    content: "experiments", "results", "settings" and "notes", as in compare.json.
    """
    names, notes = content["experiments"], content["notes"]
    title = f"{', '.join(names[1:])} compared with {names[0]}"
    scores = [
        "Stage", "Split", "Experiment", "Images",
        "mIoU, 255 as background (95 % interval)", "Coverage", "Difference (95 % interval)",
        "Differs", "mIoU, 255 left out (95 % interval)",
    ]  # fmt: skip
    tables = {
        "Scores": (scores, [score_cells(row) for row in content["results"]]),
        "Settings that differ": (
            ["Stage", "Setting", *names],
            [setting_cells(row) for row in content["settings"]],
        ),
    }
    parts = [f"# {title}\n", *(f"{note}\n" for note in notes)]
    for heading, (header, rows) in tables.items():
        parts += [f"## {heading}\n", markdown_table(header, rows)]
    page = render(
        "comparison.html",
        title=title, baseline=names[0], notes=notes, tables=tables, chart=inline_svg(figure),
    )  # fmt: skip
    return "\n".join(parts), page


def score_cells(row: dict[str, Any]) -> list[Cell]:
    """Return the cells of the score of an experiment."""
    names = [row[key] for key in ("stage", "split", "experiment", "images")]
    return [
        *names, with_interval(row, "miou_255_as_background"), row["coverage"],
        with_interval(row, "difference_255_as_background", "+"),
        row.get("differs_255_as_background", ""), with_interval(row, "miou"),
    ]  # fmt: skip


def with_interval(row: dict[str, Any], key: str, sign: str = "") -> Cell:
    """Return a value and its interval as text; `sign` is the sign option of the number format."""
    value, limits = row.get(key), row.get(f"{key}_interval")
    if value is None or limits is None:
        return value
    return f"{value:{sign}.3f} ({limits[0]:{sign}.3f} to {limits[1]:{sign}.3f})"


def setting_cells(row: dict[str, Any]) -> list[Cell]:
    """Return the folder of a stage, the setting, and the value of each experiment."""
    values = row["values"].values()
    texts = [v if v is None or isinstance(v, str) else json.dumps(v) for v in values]
    return [", ".join(row["stages"]), row["setting"], *texts]
