"""Curves of a training: losses and learning rate over the iterations."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from i2crc.report.figures import COLORS, WIDTH, headline
from i2crc.runtime.errors import InputError

BINS = 600  # about one bin per two pixels of the widest axes


def read_history(path: Path) -> dict[str, np.ndarray]:
    """Return the columns of a history as (N,) float64 arrays.

    Raise InputError if the file is no history, or has no iteration.
    """
    try:
        with open(path, newline="") as file:
            rows = list(csv.DictReader(file))
        columns = {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}
        missing = {"iteration", "learning_rate", "loss"} - set(columns)
    except (OSError, ValueError, TypeError, IndexError) as error:
        raise InputError(f"{path}: not a history ({error}); run the training again") from error
    if missing:
        raise InputError(f"{path}: no column {sorted(missing)}; run the training again")
    return columns


def running_mean(values: np.ndarray) -> np.ndarray:
    """Return the (N,) means of the finite values in a window of 5 % of N around each value.

    A mean is NaN if its window has no finite value.
    """
    window = np.ones(2 * (len(values) // 40) + 1)
    finite = np.isfinite(values)
    total = np.convolve(np.where(finite, values, 0), window, "same")
    count = np.convolve(finite.astype(float), window, "same").round()
    return np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0)


def extremes(values: np.ndarray) -> np.ndarray:
    """Return the ascending indices of the lowest and highest of (N,) `values` in each of BINS bins.

    A line through these values looks like the line through all. Up to 2 * BINS values are all kept.
    """
    if len(values) <= 2 * BINS:
        return np.arange(len(values))
    bins = np.array_split(np.arange(len(values)), BINS)
    ordered = [indices[np.argsort(values[indices])] for indices in bins]
    return np.unique([index for indices in ordered for index in (indices[0], indices[-1])])


def plot_term(axes: Axes, iteration: np.ndarray, values: np.ndarray, color: str) -> None:
    """Draw a thin line of the values and a bold line of their running mean."""
    shown = extremes(values)
    marker = "o" if len(values) == 1 else None
    axes.plot(iteration[shown], values[shown], color=color, linewidth=0.8, alpha=0.5, label="value")
    axes.plot(
        iteration[shown], running_mean(values)[shown],
        color=color, linewidth=1.8, marker=marker, label="running mean",
    )  # fmt: skip


def training_figure(history: dict[str, np.ndarray], title: str) -> Figure:
    """Return the curves: total loss on top, its terms in pairs, the learning rate at the bottom."""
    terms = [name for name in history if name not in ("iteration", "learning_rate", "loss")]
    pairs = [[terms[i], terms[min(i + 1, len(terms) - 1)]] for i in range(0, len(terms), 2)]
    layout: list[Any] = [["loss", "loss"], *pairs, ["learning_rate", "learning_rate"]]
    heights = [2.6, *(1.7 for _ in pairs), 1.4]
    figure = Figure(figsize=(WIDTH, sum(heights) + 0.8), layout="constrained")
    headline(figure, title)
    panels = figure.subplot_mosaic(layout, sharex=True, height_ratios=heights)
    for name, axes in panels.items():
        axes.set_title("total loss" if name == "loss" else name.replace("_", " "))
        axes.grid()
        axes.tick_params(labelbottom=True)
        if name != "learning_rate":
            color = COLORS[0] if name == "loss" else COLORS[1]
            plot_term(axes, history["iteration"], history[name], color)
    rate = panels["learning_rate"]
    rate.plot(
        history["iteration"], history["learning_rate"],
        color=COLORS[2], marker="o" if len(history["iteration"]) == 1 else None,
    )  # fmt: skip
    rate.set_ylim(bottom=0)
    rate.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    rate.set_xlabel("iteration (optimiser steps)")
    panels["loss"].legend(ncols=2)
    return figure
