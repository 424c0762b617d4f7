"""The index of a split: its images with their classes, masks, sizes and digests.

An index is a JSON file ``{"split", "classes", "images": [entry, ...], "left_out": [id, ...],
"problems": [{"file", "problem", "remedy"}, ...], "warnings": [sentence, ...], "corrections" (if
there are any)}``; an entry is
``{"id", "image", "mask" (or null), "classes" (0-based, or null), "width", "height", "sha256",
"mask_sha256" (or null), "mask_values" (or null), "original" (or null), "trusted_mask" (or null),
"trusted_sha256" (or null)}``. Images with problems are left out; the stage preflight then stops the
run and reports all problems.
"""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import field
from pathlib import Path
from typing import Any, Self

from pydantic import PositiveInt, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from i2crc.artifacts.lineage import Artifact
from i2crc.artifacts.schemas import RelativeName, damaged
from i2crc.runtime.atomic import digest_value, read_json
from i2crc.runtime.errors import FileError, Problem, counted


@dataclass(frozen=True, slots=True)
class Original:
    """The user's own file behind a working copy."""

    image: str
    width: PositiveInt
    height: PositiveInt
    sha256: str


@dataclass(frozen=True, slots=True)  # there may be millions
class Entry:
    """A photograph of a split.

    `classes` are 0-based and sorted; None if they are unknown. Sizes are in pixels, upright.
    `mask_values` are the sorted values of the mask: 0 background, n + 1 class n, 255 ignored.
    `image` is what the stages read: of a photograph above `dataset.max_side`, that is a working
    copy, and `original` is the photograph. `trusted_mask` is a mask to train on.
    """

    id: RelativeName
    image: str
    mask: str | None
    classes: list[int] | None
    width: PositiveInt
    height: PositiveInt
    sha256: str
    mask_sha256: str | None = None
    mask_values: list[int] | None = None
    original: Original | None = None
    trusted_mask: str | None = None
    trusted_sha256: str | None = None

    @property
    def size(self) -> tuple[int, int]:
        """The (width, height) of what the stages read."""
        return self.width, self.height

    @property
    def photograph(self) -> "Original | Entry":
        """The user's own file: image, width, height, sha256."""
        return self.original or self

    @property
    def own_size(self) -> tuple[int, int]:
        """The (width, height) of the photograph itself, of its mask and of its labels."""
        return self.photograph.width, self.photograph.height

    @property
    def mask_classes(self) -> list[int]:
        """The 0-based classes in the mask; none if there is no mask."""
        return [value - 1 for value in self.mask_values or () if 0 < value < 255]


ENTRY = TypeAdapter(Entry)


@dataclass(frozen=True)
class Index:
    """The images of a split or of one shard of it; `classes` are the foreground class names.

    `left_out` are the ids of listed images that have problems of their own. `corrections` are those
    of the file `dataset.corrections`, as `read_corrections` returns them.
    """

    split: str
    classes: list[str]
    images: list[Entry]
    left_out: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    corrections: dict[str, Any] = field(default_factory=dict)

    @property
    def corrected(self) -> str:
        """How many photographs were corrected, in words; "" if none was."""
        words = {"exclude": "excluded", "relabel": "relabelled"}
        named = {word: self.corrections.get(key) for key, word in words.items()}
        counts = [f"{counted(len(ids), 'photograph')} {word}" for word, ids in named.items() if ids]
        return f"{' and '.join(counts)} by dataset.corrections" if counts else ""

    @model_validator(mode="after")
    def _classes_exist(self) -> Self:
        # An index without class names records that as a problem.
        for image in self.images if self.classes else ():
            if not all(0 <= number < len(self.classes) for number in image.classes or ()):
                raise ValueError(f"{image.id} has a class that is none of the {len(self.classes)}")
        return self


@contextmanager
def collecting(problems: list[Problem]) -> Iterator[None]:
    """Add the FileError that ends the block to `problems`, so that all of them are reported."""
    try:
        yield
    except FileError as error:
        problems.append(error.problem)


def read_index(path: Path) -> Index:
    """Return the index in a file; raise InputError if the file is missing or damaged."""
    content = read_json(path, _entry)
    try:
        return TypeAdapter(Index).validate_python(content)
    except ValidationError as error:
        raise damaged(path, error) from None


def _entry(content: dict[str, Any]) -> Any:
    """Return the entry in an object of an index; what is none stays as it is."""
    try:
        return ENTRY.validate_python(content) if "id" in content else content
    except ValidationError:
        return content  # the error of the whole index says where it is


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


def photo(entry: Entry, index: Path) -> Path:
    """Return the path of an entry's photograph.

    Its name is relative to the folder where the pipeline ran. That is the working directory, or a
    folder above the index.
    """
    name = entry.photograph.image
    places = (Path.cwd(), *index.absolute().parents)
    found = (place / name for place in places if (place / name).is_file())
    return next(found, Path.cwd() / name)
