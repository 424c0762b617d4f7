"""Snakemake, imported once: every command line runs in a process that is forked from there.

Importing Snakemake takes longer than most of what tests do with it.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["snakemake.cli"])
SECONDS = 900


def snakemake(
    arguments: list[str], folder: Path, environment: dict[str, str]
) -> subprocess.CompletedProcess:
    """What `python -m snakemake` does in a folder; its output is text."""
    with tempfile.TemporaryDirectory() as name:
        outputs = [Path(name, "stdout"), Path(name, "stderr")]
        process = CONTEXT.Process(target=_run, args=(arguments, folder, environment, outputs))
        process.start()
        process.join(SECONDS)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(arguments, SECONDS)
        texts = [path.read_text() for path in outputs]
    return subprocess.CompletedProcess(arguments, process.exitcode, *texts)


def _run(
    arguments: list[str], folder: Path, environment: dict[str, str], outputs: list[Path]
) -> None:
    from snakemake.cli import main

    for number, path in enumerate(outputs, 1):
        with path.open("w") as file:
            os.dup2(file.fileno(), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.path[:0] = [str(folder), *environment.get("PYTHONPATH", "").split(os.pathsep)]
    sys.argv = ["snakemake", *arguments]
    main()
