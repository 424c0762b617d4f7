"""The comparison of experiments as a figure, as Markdown and as an HTML page."""

import json
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from i2crc.report.figures import bar_chart, headline, inline_svg
from i2crc.report.pages import Cell, markdown_table, render


def comparison_figure(results: Sequence[dict[str, Any]], names: Sequence[str]) -> Figure:
    """Return bars of the mIoU of every stage, with its interval, for each experiment.

    The first stage is on top. results: rows of `compare_stage`. names: the experiments.
    """
    stages = list(dict.fromkeys(row["stage"] for row in results))
    series = {n: [row["miou"] for row in results if row["experiment"] == n] for n in names}
    figure = bar_chart("mIoU (0 to 1); black: its 95 % interval", stages, series)
    axes = figure.axes[0]
    for name, bars in zip(names, axes.containers, strict=True):
        rows = [row for row in results if row["experiment"] == name]
        for row, bar in zip(rows, bars, strict=True):
            height = bar.get_y() + bar.get_height() / 2
            axes.plot(row["miou_interval"] or [row["miou"]] * 2, [height, height], color="black")
    headline(figure, "mIoU of the experiments", axes, columns=2)
    return figure


def comparison_pages(content: dict[str, Any], figure: Figure) -> tuple[str, str]:
    """Return the comparison as Markdown, and as an HTML page with the figure on top.

    content: "experiments", "results", "settings" and "notes", as in compare.json.
    """
    names, notes = content["experiments"], content["notes"]
    title = f"{', '.join(names[1:])} compared with {names[0]}"
    miou, difference = "mIoU (95 % interval)", "Difference (95 % interval)"
    scores = ["Stage", "Split", "Experiment", "Images", miou, difference, "Differs"]
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
    miou = with_interval(row["miou"], row["miou_interval"])
    difference = with_interval(row.get("difference"), row.get("difference_interval"), "+")
    names = [row[key] for key in ("stage", "split", "experiment", "images")]
    return [*names, miou, difference, row.get("differs", "")]


def with_interval(value: float | None, limits: Sequence[float] | None, sign: str = "") -> Cell:
    """Return a value and its interval as text; `sign` is the sign option of the number format."""
    if value is None or limits is None:
        return value
    return f"{value:{sign}.4f} ({limits[0]:{sign}.4f} to {limits[1]:{sign}.4f})"


def setting_cells(row: dict[str, Any]) -> list[Cell]:
    """Return the folder of a stage, the setting, and the value of each experiment."""
    values = row["values"].values()
    texts = [v if v is None or isinstance(v, str) else json.dumps(v) for v in values]
    return [", ".join(row["stages"]), row["setting"], *texts]
