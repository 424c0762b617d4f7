"""The lineage of an artifact: everything that it was made from, back to the photographs.

It is read from the provenance of the files; nothing is run.
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
    """A file that records how it, and the files that it lists, were made.

    `facts` is its provenance. `inputs` maps what it was made from to the digests recorded then,
    `files` maps what it lists to them.
    """

    path: Path
    facts: dict[str, Any]
    inputs: dict[Path, str]
    files: dict[Path, str]

    @property
    def script(self) -> str:
        """The name of the script that made it."""
        return self.facts["script"]

    @property
    def is_shard(self) -> bool:
        """Whether its name is that of a shard, as `1-of-8`."""
        return bool(SHARD.fullmatch(self.path.stem))

    @property
    def place(self) -> Path:
        """The folder of a shard, which its other shards share; else the path without suffix."""
        return self.path.parent if self.is_shard else self.path.with_suffix("")


@dataclass(frozen=True)
class StageOutputs:
    """What a script made in one place: one artifact, or one for each shard."""

    script: str
    artifacts: list[Artifact]

    @property
    def inputs(self) -> dict[Path, set[str]]:
        """The inputs of all artifacts, each with all digests that were recorded of it."""
        found: dict[Path, set[str]] = {}
        for artifact in self.artifacts:
            for path, sha in artifact.inputs.items():
                found.setdefault(path, set()).add(sha)
        return found

    @property
    def files(self) -> dict[Path, str]:
        """The files that the artifacts list, with their digests."""
        return {path: sha for one in self.artifacts for path, sha in one.files.items()}

    def distinct(self, fact: str) -> list[Any]:
        """Return the different values of a fact among the artifacts."""
        values: list[Any] = []
        for artifact in self.artifacts:
            value = artifact.facts.get(fact)
            if value not in values:
                values.append(value)
        return values


class Check:
    """Compare files with what was recorded of them; each file is read once.

    `problems` are the files that were found changed or missing.
    """

    def __init__(self) -> None:
        self._digests: dict[Path, str] = {}
        self.problems: set[Path] = set()

    def digest(self, path: Path) -> str:
        """Return the `content_digest` of a file."""
        if path not in self._digests:
            self._digests[path] = content_digest(path)
        return self._digests[path]

    def state(self, path: Path, *recorded: str) -> str:
        """Return UNCHANGED, CHANGED or MISSING; every recorded digest must be that of the file."""
        if path.is_file() and all(self.digest(path) == sha for sha in recorded):
            return UNCHANGED
        self.problems.add(path)
        return CHANGED if path.is_file() else MISSING

    def states(self, recorded: dict[Path, str]) -> dict[str, list[Path]]:
        """Return the files (path -> recorded digest) by their state."""
        found: dict[str, list[Path]] = {}
        for path, sha in recorded.items():
            found.setdefault(self.state(path, sha), []).append(path)
        return found


def find_artifact(path: Path) -> Artifact | None:
    """Return the artifact that records how `path` (absolute) was made, or None.

    That is the file itself, or a JSON file beside or above it that lists it.
    """
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
    """Return the artifact that records how `path` was made, then all that it was made from.

    Each is there once, with an absolute path. Raise InputError if nothing is recorded of `path`.
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
    for artifact in found:  # which grows in this loop
        for source in artifact.inputs:
            if source not in known:
                known.add(source)
                made = find_artifact(source)
                if made:
                    found.append(made)
                    known.update((made.path, *made.files))
    return found


def stages(artifacts: list[Artifact]) -> list[StageOutputs]:
    """Return the stages behind a trace, from last to first: each before those that it read from."""
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
    """Return a path relative to the current folder if it is below that, else unchanged."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested dictionaries as one with dotted keys; any other value as {prefix: value}."""
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
    """Yield the JSON files beside and above `path`, up to the folder of its experiment."""
    folders = path.parents
    roots = [n for n, f in enumerate(folders) if any((f / "data" / i).is_file() for i in INDEXES)]
    for folder in folders[: roots[0] + 1] if roots else []:
        # The newest first: those of another number of shards may still be there.
        yield from sorted(folder.glob("*.json"), key=os.path.getmtime, reverse=True)
