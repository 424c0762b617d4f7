"""Hash every file that an experiment lists, and name those that are missing or changed."""

import argparse
import os
from collections.abc import Iterable
from pathlib import Path

from tqdm import tqdm

from i2crc.artifacts.lineage import UNCHANGED, read_artifact, shown, state
from i2crc.cli.progress import shard_count
from i2crc.runtime.errors import InputError, counted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this sub-command."""
    parser.add_argument(
        "results", type=Path, help="folder of an experiment, RESULTS/EXPERIMENT, as results/demo"
    )


def main(arguments: argparse.Namespace) -> int:
    """Print a line for each file that is not as recorded; return 1 if there is any, else 0."""
    results = Path(os.path.abspath(arguments.results))
    lists = sorted([*newest_shards(results.rglob("*.json")), *results.rglob("*.provenance")])
    count = 0
    problems = []
    for path in tqdm(lists, unit=" lists", leave=False, disable=None):
        try:
            artifact = read_artifact(path.with_suffix("") if path.suffix == ".provenance" else path)
        except InputError as error:
            problems.append(str(error))
            continue
        for file, sha256 in artifact.files.items() if artifact else ():
            count += 1
            found = state(file, sha256)
            if found != UNCHANGED:
                problems.append(f"{shown(file)}: {found}; listed in {shown(path)}")
    if not count:
        raise InputError(
            f"{arguments.results}: no manifest, score or .provenance file is here; give the folder "
            "RESULTS/EXPERIMENT of a run, as results/demo"
        )
    verdict = f"{len(problems)} missing, changed or damaged" if problems else "all are as recorded"
    print(*problems, f"{counted(count, 'file')} checked: {verdict}", sep="\n")
    if problems:
        print("Delete the changed ones and start the run again: it makes all of them again.")
    return 1 if problems else 0


def newest_shards(files: Iterable[Path]) -> list[Path]:
    """Return files without the manifests of an earlier number of shards in the same folder."""
    found = [*files]
    shards = sorted(filter(shard_count, found), key=os.path.getmtime)
    newest = {path.parent: shard_count(path) for path in shards}
    return [path for path in found if shard_count(path) in ("", newest.get(path.parent))]
