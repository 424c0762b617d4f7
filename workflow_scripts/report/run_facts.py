"""Make a page of run times, of the provenance of the artifacts, and of the configuration."""

import argparse
import json
from pathlib import Path

from i2crc.artifacts.provenance import Origin, read_provenance
from i2crc.report.outputs import make_outputs
from i2crc.runtime.atomic import digest_value
from i2crc.runtime.errors import InputError
from i2crc.runtime.parser import make_parser, run


def main(arguments: argparse.Namespace) -> None:
    try:
        config = json.loads(arguments.config)
    except ValueError as error:
        raise InputError(f"--config: not valid JSON ({error}); give JSON") from error
    facts = [read_provenance(path) for path in arguments.artifacts]
    tables = sorted(arguments.benchmarks.rglob("*.tsv"))
    # The digests of the inputs leave out their provenance, which the page shows.
    settings = {**config, "provenance_sha256": digest_value(facts)}
    origin = Origin(Path(__file__), [*arguments.artifacts, *tables], settings)

    def draw() -> list[bytes]:
        # Imported here, because a page that is already made must not wait for matplotlib.
        from i2crc.report.run_facts import read_jobs, relative_names, run_page

        names = relative_names(arguments.artifacts)
        jobs = read_jobs(arguments.benchmarks, tables)
        return [run_page(jobs, dict(zip(names, facts, strict=True)), config).encode()]

    make_outputs(origin, [arguments.output], draw)


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--config", required=True, help="JSON: the whole resolved configuration")
    parser.add_argument("--benchmarks", type=Path, required=True, help="folder of Snakemake's .tsv")
    parser.add_argument(
        "--artifacts", type=Path, nargs="+", required=True, help="files whose provenance is shown"
    )
    parser.add_argument("--output", type=Path, required=True, help="output: HTML")
    run(main, parser)
