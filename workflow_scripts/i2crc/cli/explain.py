"""Explain how a file was made: every stage from the last to the first, and what changed since."""

import argparse
import json
import os
import re
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from i2crc.artifacts.lineage import UNCHANGED, Artifact, flatten, shown, state, trace
from i2crc.artifacts.stages import STAGES, Stage
from i2crc.config.schema import Config
from i2crc.data.index import indexes_of, photo

# A file and the digest that was recorded of it.
Recorded = tuple[Path, str]
# CHANGED or MISSING for each file that is not as recorded.
Problems = dict[Recorded, str]

SHARD = re.compile(r"\d+-of-(\d+)")
NAMED = 3
UNKNOWN = Stage("unknown", "", "is no stage of this version")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this sub-command."""
    parser.add_argument("path", type=Path, help="any file below an experiment's folder")


def main(arguments: argparse.Namespace) -> None:
    """Print how the file was made; raise InputError if nothing is recorded of it."""
    file = Path(os.path.abspath(arguments.path))
    artifacts = trace(file)
    what, photographs = find_photographs(file, artifacts)
    recorded = {*photographs}
    stages: dict[tuple[str, Path], list[Artifact]] = {}
    for one in artifacts:
        recorded |= {*one.inputs.items(), *one.files.items()}
        stages.setdefault((one.script, one.path.parent), []).append(one)
    states = {pair: state(*pair) for pair in recorded}
    problems = {pair: found for pair, found in states.items() if found != UNCHANGED}

    own = artifacts[0].files.get(file)
    itself = f" It is {states[file, own]}." if own is not None else ""
    verdict = "Everything that it was made from is unchanged."
    if problems:
        verdict = f"CHANGED or MISSING, see below: {len(problems)} of {len(states)} files."
    print(f"{shown(file)} is {what}.{itself} {verdict}")
    for number, ((script, _), stage) in enumerate(stages.items(), 1):
        print(f"\n{number}. {script}: {STAGES.get(script, UNKNOWN).does}")
        print_stage(stage, problems)
    print("\nAll stages")
    for name in ("device", "git", "versions"):
        print_row(name, facts(artifacts, name))
    print_files("photographs", photographs, problems)


def find_photographs(file: Path, artifacts: list[Artifact]) -> tuple[str, list[Recorded]]:
    """Return in words what a file is, and the photographs that it was made from."""
    script = artifacts[0].script
    makes = STAGES.get(script, UNKNOWN).makes
    kind = "low-resolution logits" if file.suffix == ".npz" else makes
    name = os.path.relpath(file.with_suffix(""), artifacts[0].folder)
    if script == "gallery":  # in a folder of each kind: thumbs/ID, photos/ID
        name = name.partition("/")[2]
    photographs: dict[Recorded, None] = {}  # a set that keeps their order
    for artifact, index in indexes_of(artifacts):
        for entry in index.images:
            path = photo(entry, artifact.path)
            names = {entry.id: ""}
            if script == "infer_cam":
                names = {f"{entry.id}_{n}": f" of class {c}" for n, c in enumerate(index.classes)}
            if file in artifacts[0].files and name in names:
                what = f"the {kind}{names[name]} of photograph {shown(path)}"
                return what, [(path, entry.photograph.sha256)]
            photographs[path, entry.photograph.sha256] = None
    return f"an output of {script}", list(photographs)


def print_stage(stage: list[Artifact], problems: Problems) -> None:
    """Print what is known of a stage, from the artifacts of its shards."""
    start = min(one.facts["start"] for one in stage)
    longest = timedelta(seconds=round(max(one.facts["seconds"] for one in stage)))
    inputs = {pair: None for one in stage for pair in one.inputs.items()}
    print_row("output", names([one.path for one in stage]))
    print_row("when", [f"{start}, took {longest}{' at most' if len(stage) > 1 else ''}"])
    print_row("settings", map(settings_text, stage))
    for name in ("seed", "precision", "code_sha256"):
        print_row(name, facts(stage, name))
    print_row("inputs", (f"{shown(p[0])}: {problems[p]}" for p in inputs if p in problems))
    unchanged = names([pair[0] for pair in inputs if pair not in problems])
    print_row("inputs", (f"{name}: unchanged" for name in unchanged))
    print_files("files", [pair for one in stage for pair in one.files.items()], problems)


def print_row(label: str, texts: Iterable[str]) -> None:
    """Print each different text on a line of its own, with the label before it."""
    for text in dict.fromkeys(texts):
        print(f"   {label:<12}{text}")


def print_files(label: str, files: list[Recorded], problems: Problems) -> None:
    """Print the number of files, and the first of those that are missing or changed."""
    wrong = [f"{shown(file[0])}: {problems[file]}" for file in files if file in problems]
    text = "all unchanged"
    if wrong:
        more = ", ..." if len(wrong) > NAMED else ""
        text = f"{len(wrong)} CHANGED or MISSING ({', '.join(wrong[:NAMED])}{more})"
    if files:
        print_row(label, [f"{len(files)}, {text}"])


def facts(artifacts: list[Artifact], name: str) -> Iterator[str]:
    """Yield a fact of the provenance of each artifact in words; None is left out."""
    for one in artifacts:
        value: Any = one.facts[name]
        if isinstance(value, dict):
            value = ", ".join(f"{key} {inner}" for key, inner in value.items())
        if value is not None:
            yield str(value)


def settings_text(artifact: Artifact) -> str:
    """Return the settings that differ from the defaults of the script's section."""
    section = STAGES.get(artifact.script, UNKNOWN).settings
    defaults = flatten(Config().model_dump())
    given = flatten(artifact.facts["settings"] or {})
    texts = [
        f"{key}: {json.dumps(value, ensure_ascii=False)}"
        for key, value in given.items()
        if (f"{section}{key}", value) not in defaults.items()
    ]
    if len(texts) < len(given):
        texts.append("all others at their defaults" if texts else "all at their defaults")
    return ", ".join(texts) or "none"


def names(paths: Iterable[Path]) -> list[str]:
    """Return the names of files; all shards of one kind have one, as `cams/*-of-8.json`."""
    kinds: dict[str, list[str]] = {}
    for name in map(shown, paths):
        kinds.setdefault(SHARD.sub(r"*-of-\1", name), []).append(name)
    return [kind if len(alike) > 1 else alike[0] for kind, alike in kinds.items()]
