"""Find files that are missing or damaged, and let their stages make them again."""

import os
from pathlib import Path
from typing import Any

from i2crc.artifacts.provenance import read_provenance
from i2crc.artifacts.schemas import FileList, checked
from i2crc.artifacts.stages import STAGES
from i2crc.runtime.atomic import read_json
from i2crc.runtime.errors import InputError


def damaged_files(artifact: Path) -> list[str]:
    """Return the names of recorded files that are missing or have another size than recorded.

    A manifest records the files that it lists; the provenance of a weight file records its size.
    """
    if artifact.suffix != ".json":
        size = artifact.stat().st_size
        recorded = (read_provenance(artifact) or {}).get("bytes", size)
        return [] if size == recorded else [artifact.name]
    return _damaged(artifact.parent, _file_list(artifact))


def _file_list(artifact: Path) -> dict[str, Any]:
    """Return the content of a JSON artifact, without the images of an index: there are many."""

    def convert(one: dict[str, Any]) -> dict[str, Any] | None:
        return None if {"image", "sha256"} <= one.keys() else one

    return checked(artifact, read_json(artifact, convert), FileList)


def _damaged(parent: Path, content: dict[str, Any]) -> list[str]:
    """Return the names of the damaged files that an artifact in the folder `parent` lists."""
    folder = str(parent / content.get("folder", "."))  # there may be a million names

    def is_damaged(name: str, size: int) -> bool:
        try:
            return os.stat(f"{folder}/{name}").st_size != size
        except OSError:
            return True

    return [name for name, size in content.get("sizes", {}).items() if is_damaged(name, size)]


def forget_damaged(results: Path) -> list[str]:
    """Remove each manifest that lists damaged files, and each damaged weight file.

    Snakemake then starts their stages, which make the damaged files alone. A manifest that records
    problems is removed as well: they may have been corrected where Snakemake does not look. Return
    a sentence for each removed file.
    """
    removed = []
    patterns = [pattern for stage in STAGES.values() for pattern in stage.records]
    for path in sorted(file for pattern in patterns for file in results.glob(pattern)):
        problem = _problem(path)
        if problem:
            path.unlink()
            removed.append(f"{path}: {problem}; removed, so that its stage makes it again")
    return removed


def _problem(artifact: Path) -> str:
    """Return what is wrong with an artifact or the files that it records; "" for nothing."""
    try:
        content = _file_list(artifact) if artifact.suffix == ".json" else {}
        names = _damaged(artifact.parent, content) if content else damaged_files(artifact)
    except InputError as error:
        return str(error)
    if names:
        return f"missing files or files of another size: {len(names)} (first: {names[0]})"
    return "it records problems" if content.get("problems") else ""
