"""A whole run in a new folder, by rule: jobs, seconds and peak memory, as Snakemake measured them.

Without --photographs that is the demo. With --again, the run is repeated with --forceall: every
stage finds its work done, so the time is that of starting them.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import harness


def run(folder: Path, arguments: argparse.Namespace, *options: str) -> float:
    """Run the workflow to its end in a folder; return its wall time in seconds."""
    configuration = arguments.configfile
    settings = {"experiment": "whole"}
    if arguments.photographs is None:
        configuration = harness.ROOT / "config/config.yaml"
    else:
        settings["dataset"] = json.dumps({"root": str(arguments.photographs.absolute())})
    command = [sys.executable, "-m", "snakemake", "--snakefile", harness.ROOT / "Snakefile"]
    command += ["--configfile", configuration.absolute(), "--directory", folder]
    command += ["--cores", str(harness.cores()), *options]
    command += ["--config", *(f"{key}={value}" for key, value in settings.items())]
    if arguments.device == "cpu":
        command += ["--resources", "gpu=0"]
    environment = {**os.environ, "PYTHONPATH": str(harness.SCRIPTS)}
    begin = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return time.perf_counter() - begin


def by_rule(folder: Path, table: str) -> list[dict]:
    """Return a row for each rule, from the benchmark files of its jobs; the longest first."""
    jobs: dict[str, list[dict[str, str]]] = {}
    measured = folder / "results/whole/benchmarks"
    for file in sorted(measured.rglob("*.tsv")):
        rule = file.relative_to(measured).with_suffix("").parts[0]
        rows = csv.DictReader(file.read_text().splitlines(), delimiter="\t")
        jobs.setdefault(rule, []).extend(rows)
    found = []
    for rule, rows in jobs.items():
        seconds = [float(row["s"]) for row in rows]
        # Snakemake measures nothing of a job that ends at once.
        memory = [float(row["max_pss"]) / 1024 for row in rows if row["max_pss"] not in ("-", "NA")]
        figures = {
            "jobs": str(len(rows)),
            "seconds": f"{sum(seconds):.1f}",
            "longest": f"{max(seconds):.1f}",
            "GiB": f"{max(memory):.2f}" if memory else "-",
        }
        found.append({"table": table, "benchmark": rule, "figures": figures})
    return sorted(found, key=lambda row: -float(row["figures"]["seconds"]))


if __name__ == "__main__":
    parser = harness.parser(__doc__)
    parser.add_argument("--again", action="store_true", help="then run it again with --forceall")
    arguments = parser.parse_args()
    options = ["--until", "prepare_data"] if arguments.quick else []
    with tempfile.TemporaryDirectory(prefix="i2crc-") as name:
        folder = Path(name)
        seconds = run(folder, arguments, *options)
        rows = by_rule(folder, f"Whole run, {seconds:.0f} s")
        if arguments.again:
            seconds = run(folder, arguments, *options, "--forceall")
            rows += by_rule(folder, f"Run that finds all done, {seconds:.0f} s")
    harness.report("whole", rows, arguments)
