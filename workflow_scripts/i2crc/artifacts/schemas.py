"""The schemas of all JSON artifacts. They are checked when a file is read, which may be damaged."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from i2crc.config.schema import composed
from i2crc.runtime.atomic import read_json
from i2crc.runtime.errors import InputError


def _stays_below(name: str) -> str:
    leaves = ".." in name and ".." in name.split("/")  # few names are worth splitting
    if not name or name[0] == "/" or leaves or "\0" in name:
        raise ValueError(f"{name!r} leads out of its folder")
    return name


RelativeName = Annotated[str, AfterValidator(_stays_below)]
Share = Annotated[float, Field(allow_inf_nan=False)]
Interval = Annotated[list[Share], Field(min_length=2, max_length=2)]


class Schema(BaseModel):
    """The keys that a JSON object must have; other keys are allowed."""

    model_config = ConfigDict(strict=True)


class FileList(Schema):
    """A JSON artifact that may list files below its folder.

    `files` and `archive` map names to SHA-256 digests, `sizes` maps names to bytes.
    """

    folder: RelativeName = "."
    files: dict[RelativeName, str] = {}
    sizes: dict[RelativeName, int] = {}
    archive: dict[RelativeName, str] = {}


class Manifest(FileList):
    """The files that a stage, or one shard of it, has made."""

    folder: RelativeName
    files: dict[RelativeName, str]


class ProvenanceRecord(Schema):
    """The provenance of an artifact."""

    script: str
    settings: Any
    code_sha256: str
    inputs: dict[str, str]
    seed: int | None
    precision: str | None
    device: str
    versions: dict[str, str]
    git: dict[str, Any] | None
    start: str
    seconds: float


class ObjectScore(Schema):
    """The scores of the objects of one size, in 0..1; null where there were none."""

    objects: int
    recall: Share | None
    found: Share | None


class Score(Schema):
    """The scores of a stage, in 0..1; null where there were no masks."""

    stage: str
    split: str
    images: int
    miou: Share | None
    miou_interval: Interval | None
    miou_255_as_background: Share | None
    miou_255_as_background_interval: Interval | None
    miou_255_as_wrong: Share | None
    boundary_iou: Share | None
    coverage: Share | None
    pixel_accuracy: Share | None
    iou: dict[str, Share | None]
    iou_255_as_background: dict[str, Share | None]
    by_object_size: dict[str, ObjectScore] = {}  # scores of older versions have none
    images_without_mask: list[str]


class Leaks(Schema):
    """Sentences that each describe ground truth that leaks into training."""

    findings: list[str]


class Warnings(Schema):
    """What preflight says of the data that stops no run."""

    warnings: list[str]


class Corrections(Schema):
    """What was corrected in the gallery: ids to leave out, and id -> names of its classes."""

    model_config = ConfigDict(strict=True, extra="forbid")

    i2crc_corrections: Literal[1]
    exclude: list[str] = []
    relabel: dict[str, list[Annotated[str, AfterValidator(composed)]]] = {}


class Sweep(Schema):
    """The scores over the values of one parameter; null where there were no masks."""

    parameter: str
    split: str
    points: list[dict[str, Share | None]]
    fixed: dict[str, Share] | None
    oracle: dict[str, dict[str, Share]] | None


class Quality(Schema):
    """The quality of the saliency maps or of the classifier on the images of a split."""

    split: str
    images: int


def checked(path: Path, value: Any, schema: type[Schema]) -> Any:
    """Return `value`, which was read from `path`; raise InputError if it does not fit `schema`."""
    try:
        schema.model_validate(value)
    except ValidationError as error:
        raise damaged(path, error) from None
    return value


def damaged(path: Path, error: ValidationError) -> InputError:
    """Return the error for an artifact that does not fit its schema."""
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"]))[:100]
    problem = f"{f'{place}: ' if place else ''}{first['msg'][:200]}"
    return InputError(f"{path}: damaged ({problem}); delete it and run again")


def read_checked(path: Path, schema: type[Schema]) -> Any:
    """Return the content of a JSON artifact; raise InputError if it does not fit `schema`."""
    return checked(path, read_json(path), schema)
