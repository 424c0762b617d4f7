"""How long a pass over the whole demo takes in which every stage finds its work done.

Runs the demo to its end in a temporary folder, then once more with `--forceall`. Prints the seconds
of the second pass as a table, rule by rule (`-`: not measured), and as JSON.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path

from i2crc.artifacts.provenance import cpu_model

ROOT = Path(__file__).parents[1]
# Small enough to test this benchmark itself.
REDUCED = [
    'dataset={"demo": {"train": 12, "val": 6, "size": 64}}',
    'classifier={"epochs": 1, "batch_size": 4, "input_size": 64}',
    'segmentation={"iterations": 2, "batch_size": 2, "crop_size": 64}',
    'evaluation={"sheet_images": 3}',
    'runtime={"workers": 0}',
]


def run_demo(folder: Path, options: list[str]) -> float:
    """Run Snakemake in a folder and return its wall time in seconds; exit if it fails."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile"]
    start = time.perf_counter()
    done = subprocess.run(
        [*command, "--directory", folder, *options], capture_output=True, text=True
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}\nsnakemake ended with status {done.returncode}")
    return seconds


def seconds_by_rule(experiment: Path) -> dict[str, list[float | None]]:
    """Return the seconds of each job by rule, None if Snakemake does not measure the rule."""
    found: dict[str, list[float | None]] = defaultdict(list)
    for log in sorted((experiment / "logs").rglob("*.log")):
        job = log.relative_to(experiment / "logs").with_suffix("")
        measured = (experiment / "benchmarks" / job).with_suffix(".tsv")
        row: dict[str, str] = {}
        if measured.is_file():
            with open(measured, newline="") as file:
                row = next(csv.DictReader(file, delimiter="\t"))
        found[job.parts[0]].append(float(row["s"]) if row else None)
    return found


def main(arguments: argparse.Namespace) -> None:
    options = ["--cores", str(arguments.cores), "--configfile", str(ROOT / "config/config.yaml")]
    options += ["--config", *REDUCED] if arguments.reduced else []
    with tempfile.TemporaryDirectory() as name:
        first = run_demo(Path(name), options)
        second = run_demo(Path(name), ["--forceall", *options])
        rules = seconds_by_rule(Path(name, "results/demo"))
    jobs = sum(map(len, rules.values()))
    print(f"{'rule':<20} {'jobs':>5} {'mean s':>8} {'max s':>8}")
    for rule, times in rules.items():
        known = [seconds for seconds in times if seconds is not None]
        mean, most = (f"{sum(known) / len(known):.2f}", f"{max(known):.2f}") if known else "--"
        print(f"{rule:<20} {len(times):>5} {mean:>8} {most:>8}")
    print(f"\nfirst pass {first:.1f} s, second pass {second:.1f} s, {second / jobs:.2f} s per job")
    result = {
        "demo": "reduced" if arguments.reduced else "full",
        "first_pass_seconds": round(first, 1),
        "second_pass_seconds": round(second, 1),
        "jobs": jobs,
        "seconds_per_job": round(second / jobs, 3),
        "job_seconds": rules,
        "machine": {
            "cpu": cpu_model(),
            "cpus": os.cpu_count(),
            "cores_used": arguments.cores,
            "python": sys.version.split()[0],
            "snakemake": version("snakemake"),
        },
    }
    print(json.dumps(result))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cores", type=int, default=2, help="cores of both passes")
    parser.add_argument("--reduced", action="store_true", help="18 small images, to try this out")
    main(parser.parse_args())
