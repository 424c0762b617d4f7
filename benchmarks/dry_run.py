"""Seconds of a dry run of the whole workflow on the demo, in 4, 64 and 256 shards."""

import os
import subprocess
import sys
import tempfile
import time

import harness

SHARDS = (4, 64, 256)


def dry_run(folder: str, shards: int) -> tuple[float, int]:
    """Return the seconds of a dry run without results, and the number of its jobs."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(harness.ROOT / "Snakefile")]
    command += ["--configfile", str(harness.ROOT / "config/config.yaml"), "--directory", folder]
    command += ["--cores", "1", "--dry-run", "--config", f"shards={shards}"]
    environment = {**os.environ, "PYTHONPATH": str(harness.SCRIPTS)}
    begin = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begin
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    totals = [line.split() for line in (done.stdout + done.stderr).splitlines()]
    return seconds, int(next(words[1] for words in totals if words[:1] == ["total"]))


if __name__ == "__main__":
    parser = harness.parser(__doc__)
    parser.add_argument("--shards", type=int, nargs="+", default=SHARDS, help="numbers of parts")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="i2crc-") as folder:
        for shards in arguments.shards[:1] if arguments.quick else arguments.shards:
            repeats = range(2 if arguments.quick else arguments.repeats)
            measured = [dry_run(folder, shards) for _ in repeats]
            times, (_, jobs) = [seconds for seconds, _ in measured], measured[0]
            figures = {"jobs": str(jobs), **harness.seconds_figures(times)}
            row = {"table": "Dry run", "benchmark": f"{shards} shards", "figures": figures}
            rows.append({**row, "seconds": times})
    harness.report("dry_run", rows, arguments)
