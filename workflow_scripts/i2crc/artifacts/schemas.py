"""The schemas of all JSON artifacts. They are checked when a file is read, which may be damaged."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from i2crc.runtime.atomic import read_json
from i2crc.runtime.errors import InputError


def _stays_below(name: str) -> str:
    if not name or name.startswith("/") or ".." in name.split("/") or "\0" in name:
        raise ValueError(f"{name!r} leads out of its folder")
    return name


RelativeName = Annotated[str, AfterValidator(_stays_below)]
Share = Annotated[float, Field(allow_inf_nan=False)]


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


class IndexEntry(Schema):
    """A photograph in an index."""

    id: RelativeName
    image: str
    mask: str | None
    classes: list[int] | None
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    sha256: str
    mask_sha256: str | None = None


class ProblemRecord(Schema):
    """A problem that a stage has found."""

    file: str
    problem: str
    remedy: str


class IndexFile(Schema):
    """The images of a split."""

    split: str
    classes: list[str]
    images: list[IndexEntry]
    left_out: list[str] = []
    problems: list[ProblemRecord] = []

    @model_validator(mode="after")
    def _classes_exist(self) -> "IndexFile":
        # An index without class names records that as a problem.
        for image in self.images if self.classes else ():
            if not all(0 <= number < len(self.classes) for number in image.classes or ()):
                raise ValueError(f"{image.id} has a class that is none of the {len(self.classes)}")
        return self


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


class FileFactsRecord(Schema):
    """What is remembered of a file: its size and time stamp, its digest, and facts."""

    stat: list[int]
    sha256: str


class HashMemory(Schema):
    """The memory of a HashCache."""

    key: str
    files: dict[str, FileFactsRecord]


class Score(Schema):
    """The scores of a stage, in 0..1; null where there were no masks."""

    stage: str
    split: str
    images: int
    miou: Share | None
    miou_interval: Annotated[list[Share], Field(min_length=2, max_length=2)] | None
    miou_255_as_background: Share | None
    miou_255_as_wrong: Share | None
    boundary_iou: Share | None
    coverage: Share | None
    pixel_accuracy: Share | None
    iou: dict[str, Share | None]
    images_without_mask: list[str]


class Leaks(Schema):
    """Sentences that each describe ground truth that leaks into training."""

    findings: list[str]


class SweepPoint(Schema):
    """The scores at a value of a swept parameter; null where there were no masks."""

    value: Share
    miou: Share | None
    miou_255_as_background: Share | None
    miou_255_as_wrong: Share | None
    coverage: Share | None


class ScoredPoint(SweepPoint):
    """The scores at a value of a swept parameter, of images that have masks."""

    miou: Share
    miou_255_as_background: Share
    miou_255_as_wrong: Share
    coverage: Share


class BestPoints(Schema):
    """The best point by each of the mIoUs."""

    miou: ScoredPoint
    miou_255_as_background: ScoredPoint
    miou_255_as_wrong: ScoredPoint


class Sweep(Schema):
    """The scores over the values of one parameter; null where there were no masks."""

    parameter: str
    split: str
    points: list[SweepPoint]
    fixed: ScoredPoint | None
    oracle: BestPoints | None

    @model_validator(mode="after")
    def _scored_or_not(self) -> "Sweep":
        if (self.fixed is None) != (self.oracle is None):
            raise ValueError("fixed and oracle are not both there or both null")
        return self


class SaliencyQuality(Schema):
    """How well the saliency maps find the foreground; null where there were no masks."""

    split: str
    images: int
    threshold: Share
    iou: Share | None
    precision: Share | None
    recall: Share | None
    mae: Share | None


class ClassifierQuality(Schema):
    """How well the classifier ranks the images; null where there were no labels."""

    split: str
    images: int
    mean_average_precision: Share | None
    average_precision: dict[str, Share | None]
    positives: dict[str, int]

    @model_validator(mode="after")
    def _same_classes(self) -> "ClassifierQuality":
        if set(self.average_precision) - set(self.positives):
            raise ValueError("average_precision and positives are not of the same classes")
        return self


def checked(path: Path, value: Any, schema: type[Schema]) -> Any:
    """Return `value`, which was read from `path`; raise InputError if it does not fit `schema`."""
    try:
        schema.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))[:100]
        problem = f"{f'{place}: ' if place else ''}{first['msg'][:200]}"
        raise InputError(f"{path}: damaged ({problem}); delete it and run again") from None
    return value


def read_checked(path: Path, schema: type[Schema]) -> Any:
    """Return the content of a JSON artifact; raise InputError if it does not fit `schema`."""
    return checked(path, read_json(path), schema)
