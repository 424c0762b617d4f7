"""Figures of scores: the IoU of every class, and the confusion matrix of a stage."""

from collections.abc import Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from i2crc.report.figures import COLORS, NOT_SCORED, WIDTH, bar_chart, headline, message_figure

NUMBERS_UP_TO = 21  # labels of a confusion matrix with numbers in its cells


def class_figure(scores: Sequence[dict[str, Any]]) -> Figure:
    """Return bars of the IoU per label, with a colour and a line at the mean per scored stage."""
    title = "IoU per class"
    scored = [score for score in scores if score["miou"] is not None]
    if not scored:
        return message_figure(title, NOT_SCORED)
    series = {summary(score): list(score["iou_255_as_background"].values()) for score in scored}
    unit = "IoU (0 to 1), predicted 255 counts as background; dashed: mean of the stage"
    figure = bar_chart(unit, list(scored[0]["iou"]), series)
    axes = figure.axes[0]
    axes.set_xlim(0, 1)
    for score, color in zip(scored, cycle(COLORS), strict=False):
        axes.axvline(score["miou_255_as_background"], color=color, linestyle="--", linewidth=1.2)
    headline(figure, title, axes)
    return figure


def summary(score: dict[str, Any]) -> str:
    """Return a stage's name, split, mIoU (255 as background), its interval, and the coverage."""
    limits = score["miou_255_as_background_interval"]
    known = f" (95 % interval {limits[0]:.3f} to {limits[1]:.3f})" if limits else ""
    figures = f"mIoU {score['miou_255_as_background']:.3f}{known}, coverage {score['coverage']:.3f}"
    return f"{score['stage']} ({score['split']}): {figures}"


def confusion_figure(score: dict[str, Any]) -> Figure:
    """Return the confusion matrix of a stage, each row in percent of the true label's pixels."""
    title = f"Confusion of {score['stage']} on {score['split']}"
    if score["miou"] is None:
        return message_figure(title, NOT_SCORED)
    names = list(score["iou"])
    shares = row_percent(np.array(score["confusion"]))
    columns = [*names, "ignored"][: shares.shape[1]]
    few = len(names) <= NUMBERS_UP_TO
    cell = max(0.11, min(0.55, 7 / len(columns)))
    figure = Figure(figsize=(WIDTH, len(names) * cell + 2.2), layout="constrained")
    headline(figure, title)
    axes = figure.add_subplot(xlabel="predicted label", ylabel="true label", facecolor="#d0d7de")
    picture = axes.imshow(shares, "Blues", vmin=0, vmax=100, interpolation="none", aspect="auto")
    axes.set_xticks(range(len(columns)), columns, rotation=90, fontsize=8 if few else 6)
    axes.set_yticks(range(len(names)), names, fontsize=8 if few else 6)
    bar = figure.colorbar(picture, ax=axes, shrink=0.6, aspect=30, pad=0.01)
    bar.set_label("% of the true label's pixels (grey row: no such pixel)")
    for (row, column), value in np.ndenumerate(shares):
        if few and value >= 0.5:
            color = "white" if value > 55 else "black"
            axes.text(
                column, row, f"{value:.0f}", color=color, fontsize=8, ha="center", va="center"
            )
    return figure


def row_percent(counts: np.ndarray) -> np.ndarray:
    """Return (L, L + 1) counts as float64 percent of their row; a row of zeros becomes NaN.

    The last column, pixels predicted 255, is left out if it is all zeros.
    """
    if not counts[:, -1].any():
        counts = counts[:, :-1]
    total = counts.sum(axis=1, keepdims=True)
    return 100 * counts / np.where(total, total, np.nan)
