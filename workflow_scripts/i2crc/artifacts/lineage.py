"""The lineage of a file: everything that it was made from, back to the photographs.

It is read from the provenance of the files; nothing is run.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from i2crc.artifacts.provenance import content_digest, provenance_file, read_provenance
from i2crc.artifacts.schemas import FileList, ProvenanceRecord, checked, read_checked
from i2crc.runtime.errors import InputError

UNCHANGED, CHANGED, MISSING = "unchanged", "CHANGED", "MISSING"
MANIFEST = re.compile(r"manifest\.json|\d+-of-\d+\.json")


@dataclass(frozen=True)
class Artifact:
    """A file that records how it, and the files that it lists, were made.

    `facts` is its provenance. `inputs` maps what it was made from to the digests recorded then,
    `files` maps what it lists to them; they are below `folder`. A file that is not JSON lists
    itself.
    """

    path: Path
    facts: dict[str, Any]
    inputs: dict[Path, str]
    files: dict[Path, str]
    folder: Path

    @property
    def script(self) -> str:
        """The name of the script that made it."""
        return self.facts["script"]


def trace(*paths: Path) -> list[Artifact]:
    """Return the artifacts that record how files were made, and all that these were made from.

    Each comes before those that it was made from. Raise InputError for a file of which nothing is
    recorded.
    """
    depths: dict[Path, int] = {}
    found: dict[Path, Artifact] = {}

    def depth(file: Path) -> int:
        """Return the number of artifacts in the longest chain that leads to a file."""
        if file not in depths:
            depths[file] = 0  # ends provenance that runs in a circle
            artifact = find_artifact(file)
            if artifact:
                found[artifact.path] = artifact
                depths[file] = 1 + max(map(depth, artifact.inputs), default=0)
                depths[artifact.path] = depths[file]
        return depths[file]

    for path in paths:
        if not depth(Path(os.path.abspath(path))):
            reason = "nothing is recorded of it" if path.exists() else "no such file"
            raise InputError(
                f"{path}: {reason}; give a file that a stage made: an index (data/*.json), a "
                "manifest (cams/*.json, labels/initial/*.json), an image that a manifest lists, a "
                "weight file or a score (scores/*.json)"
            )
    return sorted(found.values(), key=lambda artifact: -depths[artifact.path])


def find_artifact(path: Path) -> Artifact | None:
    """Return the artifact that records how `path` (absolute) was made, or None.

    That is the file itself, or a manifest in a folder above it that lists it.
    """
    manifests = [
        file
        for folder in path.parents
        for file in folder.glob("*.json")
        if MANIFEST.fullmatch(file.name)
    ]
    # The newest first: those of another number of shards may still be there.
    for candidate in (path, *sorted(manifests, key=os.path.getmtime, reverse=True)):
        artifact = None if candidate.is_dir() else read_artifact(candidate)
        if artifact and path in (candidate, *artifact.files):
            return artifact
    return None


def state(path: Path, recorded: str) -> str:
    """Return UNCHANGED, CHANGED, MISSING, or why the file cannot be read.

    recorded: the `content_digest` that the file had.
    """
    try:
        if not path.is_file():
            return MISSING
        return UNCHANGED if content_digest(path) == recorded else CHANGED
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def shown(path: Path) -> str:
    """Return a path relative to the current folder if it is below that, else unchanged."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def flatten(value: dict[str, Any]) -> dict[str, Any]:
    """Return nested dictionaries as one with dotted keys."""
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        if isinstance(inner, dict):
            flat |= {f"{key}.{name}": one for name, one in flatten(inner).items()}
        else:
            flat[key] = inner
    return flat


def read_artifact(path: Path) -> Artifact | None:
    """Return the artifact in a file; None if the file is missing or records nothing of itself."""
    is_recorded = path.is_file() or provenance_file(path).is_file()
    facts = read_provenance(path) if is_recorded else None
    if facts is None:
        return None
    checked(path, facts, ProvenanceRecord)
    content: dict[str, Any] = {"files": {path.name: facts.get("sha256", "")}}
    if path.suffix == ".json":
        content = read_checked(path, FileList)
    # The demo's manifest also names the archive beside it.
    listed = {**content.get("files", {}), **content.get("archive", {})}
    folder = Path(os.path.normpath(path.parent / content.get("folder", ".")))
    inputs = _below(path.parent, facts["inputs"])
    return Artifact(path, facts, inputs, _below(folder, listed), folder)


def _below(folder: Path, digests: dict[str, str]) -> dict[Path, str]:
    """Return digests by the paths of their files, whose names are relative to a folder."""
    return {Path(os.path.normpath(folder / name)): sha for name, sha in digests.items()}
