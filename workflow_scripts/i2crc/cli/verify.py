"""Hash every file that an experiment lists, and name those that are missing or changed."""

import argparse
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from i2crc.artifacts.lineage import CHANGED, MISSING, UNCHANGED, find_artifact, shown
from i2crc.artifacts.provenance import read_provenance
from i2crc.artifacts.stages import STAGES
from i2crc.runtime.atomic import digest_file
from i2crc.runtime.errors import FileError, InputError
from i2crc.runtime.parallel import map_in_order

# Patterns of the files that list others with their SHA-256, below the folder of an experiment.
LISTS = (
    *(pattern for stage in STAGES.values() for pattern in stage.records),
    "scores/*.json",
    "**/*.provenance",
)


@dataclass(frozen=True)
class ListedFile:
    """A file, its recorded SHA-256, and the manifest, score or `.provenance` that records it."""

    path: Path
    sha256: str
    listed_in: Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this sub-command."""
    parser.add_argument(
        "results", type=Path, help="folder of an experiment, RESULTS/EXPERIMENT, as results/demo"
    )


def main(arguments: argparse.Namespace) -> int:
    """Print a line for each file that is not as recorded; return 1 if there is any, else 0."""
    results = Path(os.path.abspath(arguments.results))
    lists = sorted({path for pattern in LISTS for path in results.glob(pattern)})
    if not lists:
        raise FileError(
            arguments.results,
            "no manifest, score or .provenance file is here",
            "give the folder RESULTS/EXPERIMENT of a run, as results/demo",
        )
    files: list[ListedFile] = []
    problems: list[str] = []
    for path in lists:
        try:
            files += listed_files(path)
        except InputError as error:
            problems.append(str(error))
    states = map_in_order(state, files, os.cpu_count() or 1)
    bar = tqdm(states, total=len(files), unit=" files", leave=False, disable=None)
    for file, found in zip(files, bar, strict=True):
        if found != UNCHANGED:
            problems.append(f"{shown(file.path)}: {found}; listed in {shown(file.listed_in)}")
    print("".join(f"{problem}\n" for problem in problems), end="")
    if not problems:
        print(f"{len(files)} files checked: all are as recorded")
        return 0
    print(
        f"{len(files)} files checked: {len(problems)} missing, changed or damaged. Delete the "
        "changed ones and start the run again: it makes all of them again."
    )
    return 1


def listed_files(path: Path) -> Iterator[ListedFile]:
    """Yield the files that a JSON artifact lists, or the one that a `.provenance` file is about.

    path: absolute. Raise InputError if the file is damaged.
    """
    if path.suffix == ".provenance":
        output = path.with_suffix("")
        facts = read_provenance(output) or {}
        yield ListedFile(output, facts.get("sha256", ""), path)
    elif artifact := find_artifact(path):
        for file, sha256 in artifact.files.items():
            yield ListedFile(file, sha256, path)


def state(file: ListedFile) -> str:
    """Return UNCHANGED, CHANGED, MISSING, or why the file cannot be read."""
    try:
        return UNCHANGED if digest_file(file.path) == file.sha256 else CHANGED
    except FileNotFoundError:
        return MISSING
    except OSError as error:
        return f"cannot be read ({error.strerror})"
