"""How much memory each stage takes for photographs of 1 and of 12 megapixels.

Draws the demo at both sizes, runs the stages one after the other, each in a process of its own,
and prints their peak memory in MiB, and their seconds.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from helpers.project import Project, environment

SETTINGS = {
    "dataset": {"demo": {"train": 4, "val": 2}},
    "classifier": {"input_size": 256},
    "segmentation": {"crop_size": 321},
    "runtime": {"inference_threads": 2},
}
# In a small process of its own, because the peak of a child starts with the size of its parent.
PEAK = (
    "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True);"
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
)


def measure(folder: Path, side: int) -> None:
    """Print the peak memory (MiB) and the seconds of each job on square photographs."""
    project = Project.new(folder)
    settings = {**SETTINGS, "dataset": {"demo": {**SETTINGS["dataset"]["demo"], "size": side}}}
    done = project.snakemake("--dry-run", "--printshellcmds", "scores", settings=settings)
    assert done.returncode == 0, done.stdout + done.stderr
    for line in (done.stdout + done.stderr).splitlines():
        if command := re.fullmatch(r" *(?:Shell command: )?(python \S*workflow_scripts/.*)", line):
            begin = time.time()
            measured = subprocess.run(
                [sys.executable, "-c", PEAK, "bash", "-c", f"exec {command[1]} 1>&2"],
                cwd=folder,
                env=environment(folder),
                stdout=subprocess.PIPE,
                check=True,
            )
            job = line.rpartition("/logs/")[2].removesuffix(".log")
            mib, seconds = int(measured.stdout) / 1024, time.time() - begin
            print(f"{side} {job:40} {mib:6.0f} MiB {seconds:6.1f} s", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sides", type=int, nargs="+", default=[1024, 3464])
    for number in parser.parse_args().sides:
        with tempfile.TemporaryDirectory() as name:
            measure(Path(name, "project"), number)
