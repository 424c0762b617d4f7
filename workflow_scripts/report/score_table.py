"""Put the scores of all stages into one table, in the given order."""

import argparse
from pathlib import Path

from i2crc.artifacts.kept import make_once
from i2crc.artifacts.provenance import Origin
from i2crc.artifacts.schemas import Score, read_checked
from i2crc.runtime.parser import make_parser, run


def main(arguments: argparse.Namespace) -> None:
    checks = [path for path in (arguments.leaks, arguments.preflight) if path]

    def draw() -> list[bytes]:
        # Imported here, because a table that is already made must not wait for jinja2.
        from i2crc.report.score_table import score_pages, warnings

        results = [read_checked(path, Score) for path in arguments.scores]
        messages = warnings(arguments.leaks, arguments.weights, arguments.preflight)
        return [text.encode() for text in score_pages(results, messages)]

    origin = Origin(Path(__file__), [*arguments.scores, *checks, *arguments.weights])
    make_once(origin, [arguments.output, arguments.html, arguments.fragment], draw)


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--scores", type=Path, nargs="*", default=[], help="scores as JSON")
    parser.add_argument("--leaks", type=Path, help="findings of check_leaks")
    parser.add_argument("--preflight", type=Path, help="findings of preflight")
    parser.add_argument(
        "--weights", type=Path, nargs="*", default=[], help="weights of the scored networks"
    )
    parser.add_argument("--output", type=Path, required=True, help="output: table as Markdown")
    parser.add_argument("--html", type=Path, required=True, help="output: the same as a page")
    parser.add_argument(
        "--fragment", type=Path, required=True, help="output: warnings and table as HTML, no page"
    )
    run(main, parser)
