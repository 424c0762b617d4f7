"""Compare experiments: the mIoU of every stage, paired differences, settings that differ."""

import argparse
from pathlib import Path
from typing import Any

from i2crc.artifacts.provenance import Origin
from i2crc.config.schema import Evaluation
from i2crc.evaluation.comparison import (
    compare_stage,
    compared_stages,
    differing_settings,
    having_measured,
    read_experiments,
)
from i2crc.report.outputs import make_outputs
from i2crc.runtime.atomic import digest_value
from i2crc.runtime.parser import make_parser, run


def main(arguments: argparse.Namespace) -> None:
    experiments = read_experiments(arguments.experiments)
    stages, stage_notes = compared_stages(experiments)
    settings = differing_settings(experiments, stages)
    inputs = [
        file(stage)
        for stage in stages
        for one in having_measured(stage, experiments)
        for file in (one.file, one.images_file)
    ]
    asked = {
        "experiments": list(map(str, arguments.experiments)),
        "bootstrap": arguments.bootstrap,
        # The digests of the inputs leave out their provenance, from which these are read.
        "differing_sha256": digest_value([settings, stage_notes]),
    }

    def draw() -> list[bytes | dict[str, Any]]:
        # Imported here, because a comparison that is already made must not wait for matplotlib.
        from i2crc.report.comparison_page import comparison_figure, comparison_pages
        from i2crc.report.figures import svg

        names = [one.name for one in experiments]
        results, notes = [], list(stage_notes)
        for stage in stages:
            rows, found = compare_stage(stage, experiments, arguments.bootstrap)
            results += rows
            notes += found
        content = {"baseline": names[0], "experiments": names, "results": results}
        content |= {"settings": settings, "notes": notes}
        figure = comparison_figure(results, names)
        table, page = comparison_pages(content, figure)
        return [content, table.encode(), page.encode(), svg(figure)]

    outputs = [arguments.output_json, arguments.table, arguments.html, arguments.figure]
    make_outputs(Origin(Path(__file__), inputs, asked), outputs, draw)


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
