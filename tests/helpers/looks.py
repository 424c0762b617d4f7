"""What many command lines of snakemake would find stale: imported once, forked for each of them.

Run in a project's folder; standard input is a JSON list of argument lists for `snakemake`, standard
output the JSON list of what each printed with `--summary` on top, or [status, what it printed].
"""

import contextlib
import io
import json
import multiprocessing
import sys
from pathlib import Path

from snakemake import cli

PROCESSES = 2


def warm_up() -> None:
    """Load what every Snakefile loads, so that the forks need not."""
    from i2crc.artifacts.code_digest import code_digest
    from i2crc.config import load
    from i2crc.fetch import download

    assert load and download
    for script in Path("workflow_scripts").glob("*/*.py"):
        code_digest(script.resolve())


def look(arguments: list[str]) -> tuple[int, str]:
    """The exit status and the output of one command line."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            cli.main(["--cores", "2", "--summary", *arguments])
            status = 0
        except SystemExit as end:
            status = end.code or 0
    return status, output.getvalue()


if __name__ == "__main__":
    commands = json.load(sys.stdin)
    warm_up()
    # A new fork for each: Snakemake leaves things behind in a process.
    with multiprocessing.get_context("fork").Pool(PROCESSES, maxtasksperchild=1) as pool:
        print(json.dumps(pool.map(look, commands, chunksize=1)))
