"""Make a page of run times, of the provenance of the artifacts, and of the configuration."""

import argparse
import json
import os
from pathlib import Path

from i2crc.artifacts.kept import make_once
from i2crc.artifacts.provenance import Origin, read_provenance
from i2crc.runtime.parser import make_parser, run


def main(arguments: argparse.Namespace) -> None:
    results = arguments.benchmarks.parent
    facts = {os.path.relpath(path, results): read_provenance(path) for path in arguments.artifacts}
    tables = sorted(arguments.benchmarks.rglob("*.tsv"))

    def draw() -> list[bytes]:
        # Imported here, because a page that is already made must not wait for matplotlib.
        from i2crc.report.run_facts import rule_times, run_page

        times = rule_times(arguments.benchmarks, tables)
        return [run_page(times, facts, arguments.config).encode()]

    origin = Origin(Path(__file__), [*arguments.artifacts, *tables], arguments.config)
    # The digests of the inputs leave out their provenance, which the page shows.
    make_once(origin, [arguments.output], draw, key=facts)


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--config", type=json.loads, required=True, help="the configuration, JSON")
    parser.add_argument("--benchmarks", type=Path, required=True, help="folder of Snakemake's .tsv")
    parser.add_argument(
        "--artifacts", type=Path, nargs="+", required=True, help="files whose provenance is shown"
    )
    parser.add_argument("--output", type=Path, required=True, help="output: HTML")
    run(main, parser)
