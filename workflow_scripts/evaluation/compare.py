"""Compare experiments: the mIoU of every stage, paired differences, settings that differ."""

import argparse
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from i2crc.artifacts.provenance import Origin, write_beside
from i2crc.config.schema import Evaluation
from i2crc.evaluation.comparison import (
    compare_stage,
    compared_stages,
    differing_settings,
    having_measured,
    read_experiments,
)
from i2crc.report.figures import COLORS, WIDTH, inline_svg, svg
from i2crc.report.pages import Cell, html_table, markdown_table, page
from i2crc.runtime.atomic import write_bytes, write_json
from i2crc.runtime.parser import make_parser, run

Table = tuple[Sequence[str], list[list[Cell]]]
# A heading, sentences and a table.
Section = tuple[str, list[str], Table]

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
    "Differences are to {baseline}, on the images that both have. Their interval is that of a "
    "paired bootstrap: both experiments are resampled alike, so it is narrower than the intervals "
    "of the two mIoU suggest. Where it excludes 0, the last column says so. It covers the choice "
    "of the images, not that of the random seed."
)
SETTINGS_NOTE = (
    "Of all stages behind the scores. What is not listed is the same everywhere. Of code_sha256 "
    "the first 8 digits are shown."
)


def score_table(results: list[dict[str, Any]]) -> Table:
    """Header and rows of the scores."""
    rows: list[list[Cell]] = [
        [
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
        for row in results
    ]
    return SCORES, rows


def limits(interval: list[float] | None, sign: str) -> str | None:
    """An interval as text; `sign` is that of the format."""
    return f"{interval[0]:{sign}.4f} to {interval[1]:{sign}.4f}" if interval else None


def setting_table(settings: list[dict[str, Any]], names: list[str]) -> Table:
    """Header and rows of the settings that differ."""
    rows = [
        [", ".join(row["stages"]), row["setting"], *(plain(row["values"][name]) for name in names)]
        for row in settings
    ]
    return ["Stage", "Setting", *names], rows


def plain(value: Any) -> str | None:
    """A setting's value as a cell."""
    return value if value is None or isinstance(value, str) else json.dumps(value)


def figure(results: list[dict[str, Any]], names: list[str]) -> Figure:
    """The mIoU of every stage, a dot with its interval for each experiment, first stage on top."""
    stages = list(dict.fromkeys(row["stage"] for row in results))
    step = 0.7 / len(names)
    size = (WIDTH, 1.4 + len(stages) * (0.25 + 0.22 * len(names)))
    drawn = Figure(figsize=size, layout="constrained")
    axes = drawn.add_subplot()
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
    axes.set_xlabel("mIoU (0..1) with its 95 % interval")
    axes.grid(axis="x")
    drawn.legend(loc="outside upper center", ncols=min(len(names), 4))
    return drawn


def markdown(title: str, sections: Sequence[Section]) -> str:
    """The comparison as Markdown."""
    parts = [f"# {title}\n"]
    for heading, sentences, (header, rows) in sections:
        parts.append(f"## {heading}\n")
        parts += [f"{sentence}\n" for sentence in sentences]
        parts.append(markdown_table(header, rows))
    return "\n".join(parts)


def html(title: str, sections: Sequence[Section], drawing: str) -> str:
    """The comparison as a page, with the SVG element `drawing` on top."""
    parts = [drawing]
    for heading, sentences, (header, rows) in sections:
        parts.append(f"<h2>{escape(heading)}</h2>")
        parts += [f"<p>{escape(sentence)}</p>" for sentence in sentences]
        parts.append(html_table(header, rows))
    return page(title, *parts)


def main(arguments: argparse.Namespace) -> None:
    experiments = read_experiments(arguments.experiments)
    names = [one.name for one in experiments]
    stages, notes = compared_stages(experiments)
    results = []
    for stage in stages:
        rows, found = compare_stage(stage, experiments, arguments.bootstrap)
        results += rows
        notes += found
    settings = differing_settings(experiments, stages)

    inputs = [
        file(stage)
        for stage in stages
        for one in having_measured(stage, experiments)
        for file in (one.file, one.images_file)
    ]
    asked = {"experiments": list(map(str, arguments.experiments)), "bootstrap": arguments.bootstrap}
    origin = Origin(Path(__file__), inputs, asked)
    content = {"baseline": names[0], "experiments": names, "results": results}
    content |= {"settings": settings, "notes": notes}
    write_json(
        arguments.output_json, {**content, "provenance": origin.describe(arguments.output_json)}
    )
    title = f"{', '.join(names[1:])} compared with {names[0]}"
    sections = [
        ("Scores", [HOW_TO_READ.format(baseline=names[0]), *notes], score_table(results)),
        ("Settings that differ", [SETTINGS_NOTE], setting_table(settings, names)),
    ]
    drawn = figure(results, names)
    outputs = {
        arguments.table: markdown(title, sections).encode(),
        arguments.html: html(title, sections, inline_svg(drawn)).encode(),
        arguments.figure: svg(drawn),
    }
    for path, data in outputs.items():
        write_bytes(path, data)
        write_beside(path, origin.describe(path))


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument(
        "--experiments", type=Path, nargs="*", required=True, help="results folders, baseline first"
    )
    parser.add_argument(
        "--bootstrap", type=int, default=Evaluation().bootstrap, help="replicates of an interval"
    )
    parser.add_argument("--output-json", type=Path, required=True, help="output: all of it")
    parser.add_argument("--table", type=Path, required=True, help="output: tables as Markdown")
    parser.add_argument("--html", type=Path, required=True, help="output: page")
    parser.add_argument("--figure", type=Path, required=True, help="output: SVG of the mIoU")
    run(main, parser)
