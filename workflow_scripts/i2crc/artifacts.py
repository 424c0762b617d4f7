"""The shapes of JSON artifacts, checked where they are read: a file may be damaged or foreign."""

from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from i2crc.files import InputError, read_json


def _stays_below(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name or not name:
        raise ValueError(f"{name!r} leads out of its folder")
    return name


Below = Annotated[str, AfterValidator(_stays_below)]
Share = Annotated[float, Field(allow_inf_nan=False)]


class Shape(BaseModel):
    """What has to be there; more may."""

    model_config = ConfigDict(strict=True)


class Listing(Shape):
    """A JSON artifact that may list files, below its folder."""

    folder: Below = "."
    files: dict[Below, str] = {}
    archive: dict[Below, str] = {}


class Manifest(Listing):
    """What a shard has made."""

    folder: Below
    files: dict[Below, str]


class Photograph(Shape):
    """An entry of an index."""

    id: Below
    image: str
    mask: str | None
    classes: list[int] | None
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    sha256: str


class Told(Shape):
    """A problem that a stage has found."""

    file: str
    problem: str
    remedy: str


class IndexFile(Shape):
    """The images of a split."""

    split: str
    classes: list[str]
    images: list[Photograph]
    left_out: list[str] = []
    problems: list[Told] = []

    @model_validator(mode="after")
    def _classes_exist(self) -> "IndexFile":
        # Without classes their names are not known, which is one of the problems.
        for image in self.images if self.classes else ():
            if not all(0 <= number < len(self.classes) for number in image.classes or ()):
                raise ValueError(f"{image.id} has a class that is none of the {len(self.classes)}")
        return self


class Facts(Shape):
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


class Score(Shape):
    """The scores of a stage; null where there were no masks."""

    stage: str
    split: str
    images: int
    miou: Share | None
    miou_interval: Annotated[list[Share], Field(min_length=2, max_length=2)] | None
    iou: dict[str, Share | None]


class Stage(Shape):
    """The scores of a stage, as the table shows them; null where there were no masks."""

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
    images_without_mask: list[str]


class Leaks(Shape):
    """Ground truth in the training, a sentence for each."""

    findings: list[str]


class Point(Shape):
    """The scores at a value of a swept parameter; null where there were no masks."""

    value: Share
    miou: Share | None
    miou_255_as_background: Share | None
    miou_255_as_wrong: Share | None
    coverage: Share | None


class ScoredPoint(Point):
    """The same where there were masks."""

    miou: Share
    miou_255_as_background: Share
    miou_255_as_wrong: Share
    coverage: Share


class Oracle(Shape):
    """The best point by each of the mIoUs."""

    miou: ScoredPoint
    miou_255_as_background: ScoredPoint
    miou_255_as_wrong: ScoredPoint


class Sweep(Shape):
    """The scores over the values of one parameter; null where there were no masks."""

    parameter: str
    split: str
    points: list[Point]
    fixed: ScoredPoint | None
    oracle: Oracle | None

    @model_validator(mode="after")
    def _scored_or_not(self) -> "Sweep":
        if (self.fixed is None) != (self.oracle is None):
            raise ValueError("fixed and oracle are not both there or both null")
        return self


class SaliencyQuality(Shape):
    """How well the saliency maps find the foreground; null where there were no masks."""

    split: str
    images: int
    threshold: Share
    iou: Share | None
    precision: Share | None
    recall: Share | None
    mae: Share | None


class ClassifierQuality(Shape):
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


def checked(path: Path, value: Any, shape: type[Shape]) -> Any:
    """`value`, read from `path`, as it is; InputError where it has not the given shape."""
    try:
        shape.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))[:100]
        raise InputError(
            f"{path}: not as it was written ({f'{place}: ' if place else ''}{first['msg'][:200]}); "
            "delete it and run again"
        ) from None
    return value


def read_checked(path: Path, shape: type[Shape]) -> Any:
    """The content of a JSON artifact of a shape."""
    return checked(path, read_json(path), shape)
