"""Curves of a training; curves and a page of the scores over the values of thresholds."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from i2crc.config.schema import Evaluation, PseudoLabels, Sweeps
from i2crc.report.figures import COLORS, NOT_SCORED, WIDTH, headline, message_figure
from i2crc.report.pages import render

BINS = 600  # about one bin per pixel of the axes
MEASURES = {
    "miou_255_as_background": "255 as background",
    "miou": "255 left out",
    "miou_255_as_wrong": "255 as wrong",
}
# Columns of a history with a score of some iterations, and what they show.
VALIDATIONS = {
    "dev_miou": "mIoU on dataset.dev_list",
    "held_out_miou": "mIoU with labels that were left out",
}
TITLES = {"loss": "total loss", **VALIDATIONS}
STYLES = ("-", "--", ":")  # equal curves stay visible


def training_figure(history: Path) -> Figure:
    """Return loss, its terms, validation and learning rate over the iterations of a training.

    `history` is the CSV file of the training. A pale band spans the lowest and highest values, a
    line shows the running mean. Points are validations.
    """
    table = np.genfromtxt(history, delimiter=",", names=True, ndmin=1)
    _, rate, *terms = table.dtype.names or ()  # the first column is the iteration
    bins = np.arange(0, len(table), -(-len(table) // BINS))
    iteration = table["iteration"][bins]
    rows = len(terms) // 2 + 1
    figure = Figure(figsize=(WIDTH, 2.3 * rows + 0.8), layout="constrained")
    for number, name in enumerate([*terms, rate], start=1):
        axes = figure.add_subplot(rows, 2, number)
        axes.set_title(TITLES.get(name, name.replace("_", " ")))
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.set_xlabel("iteration (optimiser steps)")
        axes.grid()
        if name in VALIDATIONS:
            known = np.isfinite(table[name])
            axes.plot(table["iteration"][known], table[name][known], color=COLORS[0], marker="o")
            continue
        span = np.fmin.reduceat(table[name], bins), np.fmax.reduceat(table[name], bins)
        axes.fill_between(iteration, *span, color=COLORS[0], alpha=0.3, label="lowest to highest")
        mean = table[name] if name == rate else running_mean(table[name])
        marker = "o" if len(table) == 1 else None
        axes.plot(iteration, mean[bins], color=COLORS[0], marker=marker, label="running mean")
    headline(figure, f"Training: {history.parent.name}", figure.axes[0], columns=2)
    return figure


def running_mean(values: np.ndarray) -> np.ndarray:
    """Return the (N,) means of the finite values in a window of 5 % of N around each value.

    A mean is NaN if its window has no finite value.
    """
    window = np.ones(2 * (len(values) // 40) + 1)
    finite = np.isfinite(values)
    total = np.convolve(np.where(finite, values, 0), window, "same")
    count = np.convolve(finite.astype(float), window, "same").round()
    return total / np.where(count, count, np.nan)


def sweep_figure(sweeps: Sequence[dict[str, Any]]) -> Figure:
    """Return, per parameter, the three mIoUs over its value and, below, the coverage."""
    title = f"Threshold sweeps on {sweeps[0]['split']}"
    scored = [sweep for sweep in sweeps if sweep["fixed"]]
    if not scored:
        return message_figure(title, NOT_SCORED)
    figure = Figure(figsize=(WIDTH, 0.9 + 2.4 * len(scored)), layout="constrained")
    panels = figure.subplots(len(scored), 3, squeeze=False, width_ratios=(3, 2, 2.4))
    for sweep, (scores, coverage, side) in zip(scored, panels, strict=True):
        values = [point["value"] for point in sweep["points"]]
        for (measure, name), color, style in zip(MEASURES.items(), COLORS, STYLES, strict=False):
            curve = [point[measure] for point in sweep["points"]]
            scores.plot(values, curve, style, color=color, marker=".", label=name)
            best = sweep["oracle"][measure]
            label = "oracle (uses ground truth)" if measure == "miou_255_as_background" else None
            scores.plot(best["value"], best[measure], "*", color=color, markersize=13, label=label)
        coverage.plot(values, [point["coverage"] for point in sweep["points"]], ".-k")
        coverage.set_ylim(-0.05, 1.05)
        for axes, unit in ((scores, "mIoU (0 to 1)"), (coverage, "coverage")):
            axes.axvline(sweep["fixed"]["value"], color="black", ls="-.", lw=1, label="configured")
            axes.grid()
            axes.set(xlabel=sweep["parameter"], ylabel=unit)
        side.set_axis_off()
        about, *others = explanation(sweep["parameter"])
        configured = f"configured: {sweep['fixed']['value']:g}"
        lines = [f"{sweep['parameter']}: {about}", configured, *others]
        side.text(0, 1, "\n\n".join(textwrap.fill(line, 38) for line in lines), va="top")
    headline(figure, title, panels[0, 0], columns=3)
    return figure


def explanation(parameter: str) -> list[str]:
    """Return what a swept parameter is, and what higher and lower values do, line by line."""
    section = Evaluation if parameter in Evaluation.model_fields else PseudoLabels
    values = str(Sweeps.model_fields[parameter].description)
    return [str(section.model_fields[parameter].description), *values.split("; ")]


def sweep_page(sweeps: Sequence[dict[str, Any]]) -> Markup:
    """Return an HTML page with the configured and the oracle value per parameter and measure."""
    return render(
        "sweeps.html",
        sweeps=sweeps,
        explanation=explanation,
        measures=MEASURES,
        not_scored=NOT_SCORED,
    )
