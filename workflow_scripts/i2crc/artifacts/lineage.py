"""The lineage of an artifact: everything that it was made of, back to the photographs.

It is read from the provenance of the files alone; nothing is run.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from i2crc.artifacts.provenance import content_digest, read_provenance
from i2crc.artifacts.schemas import FileList, ProvenanceRecord, checked, read_checked
from i2crc.runtime.errors import InputError

UNCHANGED, CHANGED, MISSING = "unchanged", "CHANGED", "MISSING"
SHARD = re.compile(r"\d+-of-(\d+)")
INDEXES = ("train.json", "val.json", "test.json")


@dataclass(frozen=True)
class Artifact:
    """A file that says how it, and the files that it lists, were made.

    `facts` is its provenance; `inputs` and `files` map what it was made of and what it lists to
    the SHA-256 digests recorded then.
    """

    path: Path
    facts: dict[str, Any]
    inputs: dict[Path, str]
    files: dict[Path, str]

    @property
    def script(self) -> str:
        """The script that made it."""
        return self.facts["script"]

    @property
    def is_shard(self) -> bool:
        """Whether it is one of several parts, by its name."""
        return bool(SHARD.fullmatch(self.path.stem))

    @property
    def place(self) -> Path:
        """What it has in common with the other shards: their folder, or its name but the suffix."""
        return self.path.parent if self.is_shard else self.path.with_suffix("")


@dataclass(frozen=True)
class StageOutputs:
    """What a script made in one place: an artifact, or one for each shard."""

    script: str
    artifacts: list[Artifact]

    @property
    def inputs(self) -> dict[Path, set[str]]:
        """The inputs of all its artifacts, with every digest that one of them recorded."""
        found: dict[Path, set[str]] = {}
        for artifact in self.artifacts:
            for path, sha in artifact.inputs.items():
                found.setdefault(path, set()).add(sha)
        return found

    @property
    def files(self) -> dict[Path, str]:
        """The files that all its artifacts list."""
        return {path: sha for one in self.artifacts for path, sha in one.files.items()}

    def distinct(self, fact: str) -> list[Any]:
        """The different values that its artifacts have of a fact."""
        values: list[Any] = []
        for artifact in self.artifacts:
            value = artifact.facts.get(fact)
            if value not in values:
                values.append(value)
        return values


class Check:
    """Whether files still are what was recorded of them; each is read once.

    `problems` are those that are not.
    """

    def __init__(self) -> None:
        self._digests: dict[Path, str] = {}
        self.problems: set[Path] = set()

    def digest(self, path: Path) -> str:
        """SHA-256 of a file's content, without its provenance."""
        if path not in self._digests:
            self._digests[path] = content_digest(path)
        return self._digests[path]

    def state(self, path: Path, *recorded: str) -> str:
        """UNCHANGED, CHANGED or MISSING: a file, measured by all the digests recorded of it."""
        if path.is_file() and all(self.digest(path) == sha for sha in recorded):
            return UNCHANGED
        self.problems.add(path)
        return CHANGED if path.is_file() else MISSING

    def states(self, recorded: dict[Path, str]) -> dict[str, list[Path]]:
        """Files by their state; states that none has are left out."""
        found: dict[str, list[Path]] = {}
        for path, sha in recorded.items():
            found.setdefault(self.state(path, sha), []).append(path)
        return found


def find_artifact(path: Path) -> Artifact | None:
    """What says how `path` (absolute) was made: itself, or the JSON above it that lists it."""
    facts = read_provenance(path) if path.is_file() else None
    if facts:
        return _artifact(path, facts)
    for candidate in _lists_above(path):
        facts = read_provenance(candidate)
        artifact = _artifact(candidate, facts) if facts else None
        if artifact and path in artifact.files:
            return artifact
    return None


def trace(path: Path) -> list[Artifact]:
    """The artifact that says how `path` was made, then all that this was made of, each once.

    Their paths are absolute. InputError for a folder or a file that nothing is recorded of.
    """
    path = Path(os.path.abspath(path))
    first = find_artifact(path)
    if first is None:
        kind = "a folder" if path.is_dir() else "no provenance" if path.exists() else "no such file"
        raise InputError(
            f"{shown(path)}: {kind}; give a file that a stage made: an index (data/*.json), a "
            "manifest (cams/*.json, labels/initial/*.json), an image that a manifest lists, a "
            "weight file or a score (scores/*.json)"
        )
    found = [first]
    known = {first.path, *first.files}
    for artifact in found:  # grows while it is walked
        for source in artifact.inputs:
            if source not in known:
                known.add(source)
                made = find_artifact(source)
                if made:
                    found.append(made)
                    known.update((made.path, *made.files))
    return found


def stages(artifacts: list[Artifact]) -> list[StageOutputs]:
    """The stages behind a trace, from last to first: each stands before those that it read of."""
    groups: dict[tuple[str, Path], list[Artifact]] = {}
    owners: dict[Path, tuple[str, Path]] = {}
    for artifact in artifacts:
        key = (artifact.script, artifact.place)
        groups.setdefault(key, []).append(artifact)
        owners.update(dict.fromkeys((artifact.path, *artifact.files), key))
    ordered: list[StageOutputs] = []
    visited = set()

    def visit(key: tuple[str, Path]) -> None:
        if key in visited:
            return
        visited.add(key)
        stage = StageOutputs(key[0], sorted(groups[key], key=lambda one: (one.is_shard, one.path)))
        for source in stage.inputs:
            if source in owners:
                visit(owners[source])
        ordered.append(stage)

    for key in groups:
        visit(key)
    return ordered[::-1]


def shown(path: Path) -> str:
    """A path as seen from the current folder, where it is below it."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, with dotted keys; a value that is none has its prefix as key."""
    if not isinstance(value, dict):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        flat.update(flatten(inner, f"{prefix}.{key}" if prefix else key))
    return flat


def _artifact(path: Path, facts: dict[str, Any]) -> Artifact:
    checked(path, facts, ProvenanceRecord)
    content = read_checked(path, FileList) if path.suffix == ".json" else {}
    folder = path.parent / content.get("folder", ".")
    # The demo's manifest also names the archive beside it.
    listed = {**content.get("files", {}), **content.get("archive", {})}
    return Artifact(
        path,
        facts,
        {_below(path.parent, name): sha for name, sha in facts["inputs"].items()},
        {_below(folder, name): sha for name, sha in listed.items()},
    )


def _below(folder: Path, name: str) -> Path:
    return Path(os.path.normpath(folder / name))


def _lists_above(path: Path) -> Iterator[Path]:
    """The JSON files beside and above `path`, up to the folder of its experiment."""
    folders = path.parents
    roots = [n for n, f in enumerate(folders) if any((f / "data" / i).is_file() for i in INDEXES)]
    for folder in folders[: roots[0] + 1] if roots else []:
        yield from sorted(folder.glob("*.json"))
