"""Put the scores of all stages into one table, in the given order."""

import argparse
from pathlib import Path

from i2crc.artifacts.kept import make_once
from i2crc.artifacts.provenance import Origin
from i2crc.artifacts.schemas import Score, read_checked
from i2crc.runtime.parser import make_parser, run


def main(arguments: argparse.Namespace) -> None:
    checks = [path for path in (arguments.index, arguments.leaks, arguments.preflight) if path]

    def draw() -> list[bytes]:
        # Imported here, because a table that is already made must not wait for jinja2.
        from i2crc.data.index import read_index
        from i2crc.report.findings import fallen_stages
        from i2crc.report.score_table import score_pages, warnings

        results = [read_checked(path, Score) for path in arguments.scores]
        messages = warnings(arguments.leaks, arguments.weights, arguments.preflight)
        corrected = read_index(arguments.index).corrected if arguments.index else ""
        scores = {result["stage"]: result for result in results}
        fallen = fallen_stages(scores, arguments.images, arguments.bootstrap)
        return [text.encode() for text in score_pages(results, messages, corrected, fallen)]

    inputs = [*arguments.scores, *arguments.images, *checks, *arguments.weights]
    origin = Origin(Path(__file__), inputs, {"bootstrap": arguments.bootstrap})
    make_once(origin, [arguments.output, arguments.html], draw)


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--scores", type=Path, nargs="*", default=[], help="scores as JSON")
    parser.add_argument("--images", type=Path, nargs="*", default=[], help="scores per image")
    parser.add_argument("--bootstrap", type=int, default=1000, help="replicates of the bootstrap")
    parser.add_argument("--index", type=Path, help="training index")
    parser.add_argument("--leaks", type=Path, help="findings of check_leaks")
    parser.add_argument("--preflight", type=Path, help="findings of preflight")
    parser.add_argument(
        "--weights", type=Path, nargs="*", default=[], help="weights of the scored networks"
    )
    parser.add_argument("--output", type=Path, required=True, help="output: table as Markdown")
    parser.add_argument("--html", type=Path, required=True, help="output: the same as a page")
    run(main, parser)
