"""The index of a split: its images with their classes, masks, sizes and digests.

An index is a JSON file ``{"split", "classes", "images": [entry, ...], "left_out": [id, ...],
"problems": [{"file", "problem", "remedy"}, ...]}``; an entry is ``{"id", "image", "mask" (or null),
"classes" (0-based, or null), "width", "height", "sha256", "mask_sha256" (or null)}``. Images with
problems are left out; the stage preflight then stops the run and reports all problems.
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
    """A photograph of a split.

    `classes` are 0-based and sorted; None if they are unknown. Sizes are in pixels, upright.
    """

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
    """The images of a split or of one shard of it; `classes` are the foreground class names.

    `left_out` are the ids of listed images that have problems of their own.
    """

    split: str
    classes: list[str]
    images: list[Entry]
    left_out: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def read_index(path: Path) -> Index:
    """Return the index in a file; raise InputError if the file is missing or damaged."""
    content = read_checked(path, IndexFile)
    entries = [Entry(**entry) for entry in content["images"]]
    problems = [Problem(**problem) for problem in content.get("problems", [])]
    left_out = content.get("left_out", [])
    return Index(content["split"], content["classes"], entries, left_out, problems)


def index_json(index: Index) -> dict[str, Any]:
    """Return the JSON content of an index."""
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
    """Return the 0-based shard of an image, which depends on nothing but its id."""
    return zlib.crc32(image_id.encode()) % shards


def indexes_of(artifacts: list[Artifact]) -> list[tuple[Artifact, Index]]:
    """Return the indexes among artifacts, each with its artifact."""
    return [(one, read_index(one.path)) for one in artifacts if one.script == "prepare_data"]


def photo(entry: Entry, index: Artifact) -> Path:
    """Return the path of an entry's photograph.

    Its name is relative to the folder where the pipeline ran. That is the working directory, or a
    folder above the index.
    """
    places = (Path.cwd(), *index.path.parents)
    found = (place / entry.image for place in places if (place / entry.image).is_file())
    return next(found, Path.cwd() / entry.image)
