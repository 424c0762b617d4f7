"""Figures of scores: IoU of every class, errors by object size, confusion matrix of a stage."""

from collections.abc import Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from i2crc.report.figures import (
    COLORS,
    NOT_SCORED,
    WIDTH,
    bar_chart,
    draw_bars,
    headline,
    message_figure,
    shortened,
)

NUMBERS_UP_TO = 21  # labels of a confusion matrix with numbers in its cells
SIZES = {
    "small": "small\nunder 1 %",
    "medium": "medium\n1 to 10 %",
    "large": "large\nover 10 %",
}


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


def size_figure(scores: Sequence[dict[str, Any]]) -> Figure:
    """Return bars of recall, and of the objects found, per object size, a colour per stage."""
    title = "Errors by object size"
    scored = [score for score in scores if score["miou"] is not None]
    if not scored:
        return message_figure(title, NOT_SCORED)
    figure = Figure(figsize=(WIDTH, 1.6 + 0.9 * len(scored)), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    units = {"recall": "pixels with the right class", "found": "objects found"}
    for axes, (key, unit) in zip(panels, units.items(), strict=True):
        series, texts = {}, []
        for score in scored:
            found = [score["by_object_size"][size] for size in SIZES]
            series[f"{score['stage']} ({score['split']})"] = [one[key] for one in found]
            texts.append([share_text(one[key], one["objects"]) for one in found])
        draw_bars(axes, list(SIZES.values()), series, texts)
        axes.set(xlim=(0, 1.3), xticks=np.linspace(0, 1, 6), xlabel=f"share of {unit} (0 to 1)")
    headline(figure, title, panels[0], columns=3)
    return figure


def share_text(share: float | None, objects: int) -> str:
    """Return the text beside a bar of `size_figure`."""
    return "no object" if share is None else f"{share:.2f} of {objects}"


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
    cell = max(0.13, min(0.8, 7 / len(columns)))
    width = max(WIDTH, len(columns) * cell + 2.5)
    figure = Figure(figsize=(width, len(names) * cell + 2.8), layout="constrained")
    headline(figure, title)
    axes = figure.add_subplot(xlabel="predicted label", ylabel="true label", facecolor="#d0d7de")
    picture = axes.imshow(shares, "Blues", vmin=0, vmax=100, interpolation="none", aspect="auto")
    shown = [shortened(name) for name in columns]
    axes.set_xticks(range(len(columns)), shown, rotation=90, fontsize=9 if few else 7)
    axes.set_yticks(range(len(names)), shown[: len(names)], fontsize=9 if few else 7)
    bar = figure.colorbar(
        picture, ax=axes, location="bottom", shrink=0.6, aspect=40, pad=0.02, anchor=(0, 1)
    )
    bar.set_label("% of the true label's pixels (grey row: no such pixel)")
    for (row, column), value in np.ndenumerate(shares):
        if few and value >= 0.5:
            color = "white" if value > 55 else "black"
            axes.text(
                column, row, f"{value:.0f}", color=color, fontsize=9, ha="center", va="center"
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
