"""The index of a data set: which images a split has, their classes, masks, sizes and digests.

An index is a JSON file ``{"split", "classes", "images": [entry, ...], "left_out": [id, ...],
"problems": [{"file", "problem", "remedy"}, ...]}``; an entry is ``{"id", "image", "mask" (or null),
"classes" (0-based, or null), "width", "height", "sha256", "mask_sha256" (or null)}``. Images that
cannot be used are left out; the stage preflight stops the run with their problems.
"""

import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from i2crc.artifacts.lineage import Artifact
from i2crc.artifacts.schemas import IndexFile, read_checked
from i2crc.runtime.atomic import digest_value
from i2crc.runtime.errors import Problem


@dataclass(frozen=True)
class Entry:
    """One photograph of a split; classes are 0-based, sizes in pixels."""

    id: str
    image: str
    mask: str | None
    classes: list[int] | None
    width: int
    height: int
    sha256: str
    mask_sha256: str | None = None


@dataclass(frozen=True)
class Index:
    """The images of a split (or of one shard of it) and the names of the foreground classes.

    `left_out` are the ids of listed images that have a problem of their own.
    """

    split: str
    classes: list[str]
    images: list[Entry]
    left_out: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def read_index(path: Path) -> Index:
    """Read an index file."""
    content = read_checked(path, IndexFile)
    entries = [Entry(**entry) for entry in content["images"]]
    problems = [Problem(**problem) for problem in content.get("problems", [])]
    left_out = content.get("left_out", [])
    return Index(content["split"], content["classes"], entries, left_out, problems)


def index_json(index: Index) -> dict[str, Any]:
    """The JSON content of an index."""
    return {
        "split": index.split,
        "classes": index.classes,
        "images": [vars(entry) for entry in index.images],
        "left_out": index.left_out,
        "problems": [vars(problem) for problem in index.problems],
    }


def training_digest(index: Index) -> str:
    """Return a digest of what a training reads of an index: photographs and image-level classes."""
    images = [[entry.id, entry.sha256, entry.classes] for entry in index.images]
    return digest_value([index.classes, images])


def shard_of(image_id: str, shards: int) -> int:
    """The 0-based shard an image belongs to: by its name alone, so other images never move it."""
    return zlib.crc32(image_id.encode()) % shards


def indexes_of(artifacts: list[Artifact]) -> list[tuple[Artifact, Index]]:
    """The indexes among some artifacts."""
    return [(one, read_index(one.path)) for one in artifacts if one.script == "prepare_data"]


def photo(entry: Entry, index: Artifact) -> Path:
    """The photograph of an index's entry.

    Its name is relative to the folder where the pipeline ran: this one, or one above the index.
    """
    places = (Path.cwd(), *index.path.parents)
    found = (place / entry.image for place in places if (place / entry.image).is_file())
    return next(found, Path.cwd() / entry.image)
