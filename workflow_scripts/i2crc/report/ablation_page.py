"""An ablation as a figure, as Markdown and as an HTML page."""

import json
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from i2crc.config.schema import BASE
from i2crc.report.comparison_page import with_interval
from i2crc.report.figures import COLORS, WIDTH, headline, inline_svg
from i2crc.report.pages import Cell, markdown_table, render

# Measure -> its column.
COLUMNS = {
    "coverage": "Coverage",
    "miou": "mIoU, 255 left out",
    "miou_255_as_wrong": "mIoU, 255 as wrong",
    "boundary_iou": "Boundary IoU",
}


def ablation_figure(rows: Sequence[dict[str, Any]]) -> Figure:
    """Return, per stage, the mIoU (255 as background) of variants and their differences.

    A dot is a seed, a bar of the left panel their mean; a line of the right panel is the interval
    of the mean difference. rows: see `ablation_rows`.
    """
    stages = list(dict.fromkeys(row["stage"] for row in rows))
    variants = list(dict.fromkeys(row["variant"] for row in rows))
    colors = {v: COLORS[number % len(COLORS)] for number, v in enumerate(variants)}
    height = 1.3 + 0.09 * len(variants) + len(stages) * (0.15 + 0.17 * len(variants))
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    scores, differences = figure.subplots(1, 2, sharey=True)
    first = {row["variant"]: row for row in reversed(rows)}  # has the variant's entry in the legend
    for row in rows:
        color, label = colors[row["variant"]], row["variant"] if row in first.values() else None
        place = stages.index(row["stage"]) - 0.4
        place += 0.8 * (variants.index(row["variant"]) + 0.5) / len(variants)
        values = row["miou_255_as_background"]
        scores.barh(place, mean(values), 0.8 / len(variants), color=color, alpha=0.5, label=label)
        scores.plot(values, [place] * len(values), ".", color="black", markersize=3)
        changes = row.get("seed_differences_255_as_background", [])
        changes = [change for change in changes if change is not None]
        differences.plot(changes, [place] * len(changes), ".", color=color, markersize=5)
        if limits := row.get("difference_255_as_background_interval"):
            differences.plot(limits, [place] * 2, color=color)
            differences.plot(
                row["difference_255_as_background"], place, "|", color=color, markersize=9
            )
    differences.axvline(0, color="black", linewidth=0.8)
    scores.set_yticks(range(len(stages)), stages)
    scores.set_ylim(len(stages) - 0.4, -0.6)
    scores.set_xlabel("mIoU with 255 as background; a dot for each seed")
    differences.set_xlabel(f"difference to {BASE}; line: its 95 % interval")
    for axes in (scores, differences):
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.grid(axis="x")
    headline(figure, "Ablation", scores, columns=3)
    return figure


def ablation_pages(content: dict[str, Any], figure: Figure) -> tuple[str, str]:
    """Return the ablation as Markdown, and as an HTML page with the figure on top.

    content: "seeds", "variants", "results" and "notes", as in ablation.json.
    """
    scores = [
        "Stage", "Split", "Variant", "Images", "mIoU, 255 as background",
        "Difference (95 % interval)", "Differs", *COLUMNS.values(), "Minutes",
    ]  # fmt: skip
    variants = {BASE: {}, **content["variants"]}
    seeds = ", ".join(map(str, content["seeds"]))
    tables: dict[str, tuple[list[str], list[list[Cell]]]] = {
        "Variants": (
            ["Variant", "Changed settings"],
            [[name, json.dumps(changes) if changes else "-"] for name, changes in variants.items()],
        ),
        f"Scores: mean over the seeds {seeds} (lowest to highest)": (
            scores,
            [score_cells(row) for row in content["results"]],
        ),
    }
    notes = content["notes"]
    parts = ["# Ablation\n", *(f"{note}\n" for note in notes)]
    for heading, (header, rows) in tables.items():
        parts += [f"## {heading}\n", markdown_table(header, rows)]
    page = render("ablation.html", notes=notes, tables=tables, chart=inline_svg(figure))
    return "\n".join(parts), page


def score_cells(row: dict[str, Any]) -> list[Cell]:
    """Return the cells of the scores of a variant."""
    is_same = all(change == 0 for change in row.get("seed_differences_255_as_background", [1]))
    return [
        row["stage"], row["split"], row["variant"], row["images"],
        over_seeds(row["miou_255_as_background"]),
        with_interval(row, "difference_255_as_background", "+"),
        "the same" if is_same else row.get("differs_255_as_background", ""),
        *(over_seeds(row[measure]) for measure in COLUMNS), f"{mean(row['minutes']):.1f}",
    ]  # fmt: skip


def over_seeds(values: Sequence[float | None]) -> Cell:
    """Return the mean of the values of all seeds, with the lowest and the highest, as text."""
    known = [value for value in values if value is not None]
    if len(known) < len(values) or len(known) == 1 or len(set(known)) == 1:
        return known[0] if known and len(known) == len(values) else None
    return f"{mean(known):.3f} ({min(known):.3f} to {max(known):.3f})"


def mean(values: Sequence[float]) -> float:
    """Return the mean of some numbers."""
    return sum(values) / len(values)
