"""Compare the variants of an ablation with its base: scores over the seeds, paired differences."""

import argparse
from pathlib import Path

from i2crc.artifacts.kept import Content, make_once
from i2crc.artifacts.provenance import Origin
from i2crc.config.schema import Ablation
from i2crc.evaluation.ablation import arrange, minutes_behind
from i2crc.runtime.parser import make_parser, run


def main(arguments: argparse.Namespace) -> None:
    settings = Ablation.model_validate_json(arguments.settings)
    arranged = arrange(arguments.scores, settings)
    minutes = {path: minutes_behind(path) for path in arguments.scores}
    images = [path.with_suffix(".images.csv") for path in arguments.scores]

    def make() -> list[Content]:
        # Imported here, because a table that is already made must not wait for numpy, matplotlib.
        from i2crc.evaluation.ablation import ablation_rows
        from i2crc.report.ablation_page import ablation_figure, ablation_pages
        from i2crc.report.figures import svg

        rows, notes = ablation_rows(arranged, minutes, arguments.bootstrap)
        content = {**settings.model_dump(), "results": rows, "notes": notes}
        figure = ablation_figure(rows)
        table, page = ablation_pages(content, figure)
        return [content, table.encode(), page.encode(), svg(figure)]

    outputs = [arguments.output_json, arguments.table, arguments.html, arguments.figure]
    asked = {**settings.model_dump(), "bootstrap": arguments.bootstrap}
    # The digests of the inputs leave out their provenance, from which the minutes are read.
    origin = Origin(Path(__file__), [*arguments.scores, *images], asked)
    make_once(origin, outputs, make, list(minutes.values()))


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--settings", required=True, help="JSON: the section `ablation`")
    parser.add_argument(
        "--scores", type=Path, nargs="+", required=True, help="scores of all runs (VARIANT-SEED)"
    )
    parser.add_argument("--bootstrap", type=int, required=True, help="replicates of an interval")
    parser.add_argument("--output-json", type=Path, required=True, help="output: all of it")
    parser.add_argument("--table", type=Path, required=True, help="output: tables as Markdown")
    parser.add_argument("--html", type=Path, required=True, help="output: page")
    parser.add_argument("--figure", type=Path, required=True, help="output: SVG of the scores")
    run(main, parser)
