"""How long a pass over the whole demo takes in which every stage finds its work done.

Runs the demo to its end in a temporary folder, then once more with `--forceall`. Prints the seconds
of both passes, and the mean and longest job of each rule in the second one.
"""

import argparse
import csv
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run_demo(folder: str, *options: str) -> float:
    """Run the demo in a folder; return its wall time in seconds."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile"]
    command += ["--configfile", ROOT / "config/config.yaml", "--directory", folder]
    start = time.perf_counter()
    subprocess.run([*command, *options], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def main(arguments: argparse.Namespace) -> None:
    cores = f"--cores={arguments.cores}"
    seconds = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        first, second = run_demo(folder, cores), run_demo(folder, cores, "--forceall")
        measured = Path(folder, "results/demo/benchmarks")
        for file in sorted(measured.rglob("*.tsv")):
            row = next(csv.DictReader(file.read_text().splitlines(), delimiter="\t"))
            rule = file.relative_to(measured).with_suffix("").parts[0]
            seconds[rule].append(float(row["s"]))
    print(f"first pass {first:.1f} s, second pass {second:.1f} s")
    print(f"{'rule':<20} {'jobs':>5} {'mean s':>8} {'max s':>8}")
    for rule, times in seconds.items():
        print(f"{rule:<20} {len(times):>5} {sum(times) / len(times):>8.2f} {max(times):>8.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cores", type=int, default=2, help="cores of both passes")
    main(parser.parse_args())
