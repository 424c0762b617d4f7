"""Look at a folder of photographs, write a configuration for them, and say how long a run takes."""

import argparse
import os
import re
import shlex
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from i2crc.config.choices import (
    PUBLISHED,
    PUBLISHED_GPU,
    Choice,
    Machine,
    choose,
    nested,
    write_yaml,
)
from i2crc.config.load import load_config
from i2crc.config.schema import Config, Weights
from i2crc.runtime.atomic import write_bytes
from i2crc.runtime.errors import FileError, InputError, counted
from i2crc.runtime.gpus import pool
from i2crc.runtime.memory import free_memory

if TYPE_CHECKING:
    from i2crc.evaluation.survey import Survey

HEADING = [
    "Written by `i2crc new {photos}`; every setting: docs/CONFIG.md.",
    "`measured`: as in config/voc12-small.yaml, whose results docs/RESULTS.md shows.",
]
# Photographs that the measured steps work on.
SAMPLE = 6
# What stops the measured steps, such as a lack of memory; the configuration is good without them.
UNMEASURED = (InputError, OSError, RuntimeError, ValueError, MemoryError)
# Problems that are printed.
SHOWN = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this sub-command."""
    parser.add_argument(
        "photos",
        type=Path,
        help="folder of photographs: a folder for each class, or with a table, COCO's JSON, XML "
        "files, or the lists of VOC",
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FILE.yaml", help="configuration to write"
    )
    parser.add_argument("--force", action="store_true", help="overwrite FILE.yaml")


def main(arguments: argparse.Namespace) -> int:
    """Write the configuration, and print what is wrong, the plan, and the next command.

    Return 1 if a run would stop at a problem of the data, else 0. Raise FileError if the output
    exists, or nothing says what the photographs show.
    """
    output: Path = arguments.output
    if output.suffix not in (".yaml", ".yml"):
        raise FileError(output, "no YAML file", "give --output a name that ends in .yaml")
    if not output.parent.is_dir():
        raise FileError(output, f"no such folder {output.parent}", "make it, or give another name")
    if output.exists() and not arguments.force:
        raise FileError(output, "exists", "give --output another name, or --force to overwrite it")
    from i2crc.data.recognise import recognise
    from i2crc.evaluation.survey import describe, survey

    recognised = recognise(arguments.photos)
    count = counted(recognised.photographs, "photograph")
    print(f"Looking at {count} in {arguments.photos} ...", flush=True)
    machine = this_machine()
    found = survey(recognised, machine.cores)
    experiment = experiment_of(output)
    choices = [
        Choice("experiment", experiment, f"results are in results/{experiment}"),
        *found.choices,
        *choose(found.counts(), machine, found.can_draw),
    ]
    print_wrong(found)
    found.config = config = load_config(nested(choices), str(output))
    heading = [line.format(photos=arguments.photos) for line in HEADING]
    write_bytes(output, write_yaml(choices, heading).encode())
    print("\nFound:", *describe(found), sep="\n  ")
    try:
        if not found.problems:  # what is measured on would change
            print_plan(found, config, machine)
    except UNMEASURED as error:
        print(f"\nNo estimate of time and disk ({str(error) or type(error).__name__}).")
    first = ", after you have corrected what a run stops at" if found.problems else ""
    print(f"\n{output} is written, with a reason for each setting. Next{first}:")
    print(f"  snakemake --cores all --configfile {shlex.quote(str(output))}")
    return 1 if found.problems else 0


def experiment_of(output: Path) -> str:
    """Return the name of a file as the name of an experiment."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", output.stem).lstrip(".-_")[:100] or "experiment"


def this_machine() -> Machine:
    """Return cores, memory and GPUs of this machine."""
    cores = len(os.sched_getaffinity(0))
    gpus = pool()
    if not gpus:
        return Machine(cores, free_memory())
    query = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    command = [*query, f"--id={gpus[0]}"]
    memory = 0  # if the driver does not say
    with suppress(OSError, ValueError, IndexError, subprocess.TimeoutExpired):
        listed = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        memory = int(listed.stdout.split()[0]) * 2**20
    has_weights = memory < PUBLISHED_GPU or published_weights()
    return Machine(cores, free_memory(), len(gpus), memory, has_weights)


def published_weights() -> bool:
    """Return whether the weights of the published networks are here, or can be fetched."""
    from i2crc.models.pretrained import is_at_hand

    names = ("classifier", "segmentation")
    sections = [(PUBLISHED[f"{n}.backbone"], PUBLISHED[f"{n}.weights"]) for n in names]
    return all(is_at_hand(backbone, Weights(**weights)) for backbone, weights in sections)


def print_wrong(found: "Survey") -> None:
    """Print what is wrong with the data: first its meaning, then what stops a run."""
    if found.wrong:
        print("\nWrong in meaning, or likely so:")
        print(*(f"  - {text}" for text in dict.fromkeys(found.wrong)), sep="\n")
    problems = list(dict.fromkeys(map(str, found.problems)))
    if problems:
        print("\nA run stops at these, so correct them first:")
        print(*(f"  - {text}" for text in problems[:SHOWN]), sep="\n")
    if len(problems) > SHOWN:
        print(f"  - and {len(problems) - SHOWN} more")


def print_plan(found: "Survey", config: Config, machine: Machine) -> None:
    """Print the estimated time and disk of each stage of a run."""
    busy = os.getloadavg()[0]
    print("\nMeasuring some steps on this machine ...", flush=True)
    begin = time.perf_counter()
    from i2crc.evaluation.estimate import disk_bytes, measure, stage_seconds

    start = time.perf_counter() - begin
    with TemporaryDirectory() as name:
        sample = found.sample(config, Path(name), SAMPLE)
        steps = measure(config, sample, Path(name), machine.cores, machine.gpus, start)
    amount = found.amount(config)
    parts = stage_seconds(config, amount, steps, machine.cores, machine.gpus)
    results = f"{config.results}/{config.experiment}"
    where = f"{machine.cores} cores" + (f" and {machine.gpus} GPU" if machine.gpus else "")
    split = f"{amount.train} photographs to train" + (
        f", {amount.val} to validate" * bool(amount.val)
    )
    if busy > 0.75 * machine.cores:
        print(f"\nOther programs are at work here (load {busy:.1f}): without them a run is faster.")
    print(f"\nThe plan ({split}), with estimates for {where}:")
    for part, seconds in parts.items():
        print(f"  {part:<38} {duration(seconds):>12}")
    print(f"  {'all':<38} {duration(sum(parts.values())):>12}")
    megabytes = f"{round(disk_bytes(config, amount, steps) / 1e6)} MB"
    print(f"  {f'disk at the end, {results}':<38} {megabytes:>12}")


def duration(seconds: float) -> str:
    """Return a duration as text, in steps that an estimate deserves."""
    if seconds < 90:
        return f"{max(5, 5 * round(seconds / 5))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
