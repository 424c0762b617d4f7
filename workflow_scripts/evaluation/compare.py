"""Compare experiments: the mIoU of every stage, paired differences, settings that differ."""

import argparse
from pathlib import Path

from i2crc.artifacts.kept import Content, make_once
from i2crc.artifacts.provenance import Origin
from i2crc.evaluation.comparison import (
    compare_stage,
    compared_stages,
    differing_settings,
    read_experiments,
)
from i2crc.runtime.parser import make_parser, run


def main(arguments: argparse.Namespace) -> None:
    experiments = read_experiments(arguments.experiments)
    names = list(map(str, experiments))
    stages, notes = compared_stages(experiments)
    settings = differing_settings(experiments, stages)
    inputs = [
        path
        for folder in experiments
        for pattern in ("*.json", "*.images.csv")
        for path in sorted(folder.glob(f"scores/{pattern}"))
    ]

    def make() -> list[Content]:
        # Imported here, because a comparison that is already made must not wait for matplotlib.
        from i2crc.report.comparison_page import comparison_figure, comparison_pages
        from i2crc.report.figures import svg

        results = []
        for stage in stages:
            rows, found = compare_stage(stage, experiments, arguments.bootstrap)
            results += rows
            notes.extend(found)
        content = {"baseline": names[0], "experiments": names, "results": results}
        content |= {"settings": settings, "notes": notes}
        figure = comparison_figure(results, names)
        table, page = comparison_pages(content, figure)
        return [content, table.encode(), page.encode(), svg(figure)]

    outputs = [arguments.output_json, arguments.table, arguments.html, arguments.figure]
    asked = {"experiments": names, "bootstrap": arguments.bootstrap}
    # The digests of the inputs leave out their provenance, from which these are read.
    key = [settings, *notes]
    make_once(Origin(Path(__file__), inputs, asked), outputs, make, key)


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument(
        "--experiments", type=Path, nargs="*", required=True, help="results folders, baseline first"
    )
    parser.add_argument("--bootstrap", type=int, required=True, help="replicates of an interval")
    parser.add_argument("--output-json", type=Path, required=True, help="output: all of it")
    parser.add_argument("--table", type=Path, required=True, help="output: tables as Markdown")
    parser.add_argument("--html", type=Path, required=True, help="output: page")
    parser.add_argument("--figure", type=Path, required=True, help="output: SVG of the mIoU")
    run(main, parser)
