"""The comparison of experiments as a figure, as Markdown and as an HTML page."""

import json
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from i2crc.report.figures import COLORS, WIDTH, inline_svg
from i2crc.report.pages import Cell, markdown_table, render

# A heading, sentences, and header and rows of a table.
PageSection = tuple[str, list[str], Sequence[str], list[list[Cell]]]

MARKERS = "osD^vP"
SCORES = (
    "Stage",
    "Split",
    "Experiment",
    "Images",
    "mIoU",
    "95 % interval",
    "Difference",
    "95 % interval",
    "Differs",
)
HOW_TO_READ = (
    "Each difference is to {baseline}, on the images that both experiments have. Its interval is "
    "that of a paired bootstrap: both experiments are resampled alike, so it is narrower than the "
    "intervals of the two mIoU suggest. The last column shows where the interval excludes 0. The "
    "interval covers the choice of the images, not that of the random seed."
)
SETTINGS_NOTE = (
    "The settings of all stages behind the scores. Settings that are not listed are the same in "
    "all experiments. Of code_sha256 the first 8 digits are shown."
)


def comparison_figure(results: Sequence[dict[str, Any]], names: Sequence[str]) -> Figure:
    """Return the mIoU of every stage, with a dot and its interval for each experiment.

    The first stage is on top. results: rows of `compare_stage`. names: the experiments.
    """
    stages = list(dict.fromkeys(row["stage"] for row in results))
    step = 0.7 / len(names)
    size = (WIDTH, 1.4 + len(stages) * (0.25 + 0.22 * len(names)))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    for number, name in enumerate(names):
        rows = [row for row in results if row["experiment"] == name]
        color, marker = COLORS[number % len(COLORS)], MARKERS[number % len(MARKERS)]
        heights = [
            stages.index(row["stage"]) + (number - (len(names) - 1) / 2) * step for row in rows
        ]
        for row, height in zip(rows, heights, strict=True):
            if row["miou_interval"]:
                axes.plot(row["miou_interval"], [height, height], color=color, linewidth=1.5)
        axes.plot([row["miou"] for row in rows], heights, marker, color=color, label=name)
    axes.set_yticks(range(len(stages)), stages)
    axes.set_ylim(len(stages) - 0.5, -0.5)
    axes.set_xlabel("mIoU (0 to 1) with its 95 % interval")
    axes.grid(axis="x")
    figure.legend(loc="outside upper center", ncols=min(len(names), 4))
    return figure


def comparison_pages(content: dict[str, Any], figure: Figure) -> tuple[str, str]:
    """Return the comparison as Markdown, and as an HTML page with the figure on top.

    content: "experiments", "results", "settings" and "notes", as in compare.json.
    """
    names = content["experiments"]
    title = f"{', '.join(names[1:])} compared with {names[0]}"
    sentences = [HOW_TO_READ.format(baseline=names[0]), *content["notes"]]
    sections: list[PageSection] = [
        ("Scores", sentences, SCORES, [score_cells(row) for row in content["results"]]),
        (
            "Settings that differ",
            [SETTINGS_NOTE],
            ["Stage", "Setting", *names],
            [setting_cells(row, names) for row in content["settings"]],
        ),
    ]
    page = render("comparison.html", title=title, chart=inline_svg(figure), sections=sections)
    return markdown(title, sections), page


def score_cells(row: dict[str, Any]) -> list[Cell]:
    """Return the cells under SCORES."""
    return [
        row["stage"],
        row["split"],
        row["experiment"],
        row["images"],
        row["miou"],
        limits(row["miou_interval"], ""),
        None if row.get("difference") is None else f"{row['difference']:+.4f}",
        limits(row.get("difference_interval"), "+"),
        row.get("differs", ""),
    ]


def limits(interval: list[float] | None, sign: str) -> str | None:
    """Return an interval as text; `sign` is the sign option of the number format."""
    return f"{interval[0]:{sign}.4f} to {interval[1]:{sign}.4f}" if interval else None


def setting_cells(row: dict[str, Any], names: Sequence[str]) -> list[Cell]:
    """Return stages, setting, and the value of each experiment."""
    values = [row["values"][name] for name in names]
    return [
        ", ".join(row["stages"]),
        row["setting"],
        *(v if v is None or isinstance(v, str) else json.dumps(v) for v in values),
    ]


def markdown(title: str, sections: Sequence[PageSection]) -> str:
    """Return the comparison as Markdown."""
    parts = [f"# {title}\n"]
    for heading, sentences, header, rows in sections:
        parts.append(f"## {heading}\n")
        parts += [f"{sentence}\n" for sentence in sentences]
        parts.append(markdown_table(header, rows))
    return "\n".join(parts)
