"""The model file: a trained segmentation network with everything that is needed to use it.

It is a weight file of this project whose metadata also holds what `ModelCard` describes. It may
come from a stranger, so nothing in it is run, and all of it is checked before it is used.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
from pydantic import Field, ValidationError, field_validator, model_validator

from i2crc.artifacts.schemas import Interval, Schema, Share
from i2crc.config.schema import MOST_PIXELS, Crf, Grey, Predict, Segmentation, problem_of_classes
from i2crc.data.images import voc_palette
from i2crc.data.transforms import Preprocessing
from i2crc.inference.prediction import SIDE, load_segmentation, predict_logits
from i2crc.models.deeplab import MultiScale
from i2crc.models.weight_files import file_metadata, read_state, refusing, save_state
from i2crc.runtime.errors import FileError

TRIED = (SIDE, SIDE, 3)  # shape of a photograph that each model has to predict
Color = Annotated[list[Grey], Field(min_length=3, max_length=3)]
GIVE = "give RESULTS/EXPERIMENT/model.safetensors, which a run makes after its last training"


class Supervision(Schema):
    """What a network learnt from, beside segmentation.supervision.

    Its weights were chosen by `dev_masks`. Earlier versions wrote none.
    """

    training_images: int = Field(ge=0)
    trusted_masks: int = Field(ge=0)
    dev_masks: int = Field(0, ge=0)


class ModelScore(Schema):
    """The mIoU on a split, its 95 % interval, and the IoU of each class; null: not in its masks."""

    split: str
    images: int
    miou: Share
    miou_interval: Interval | None
    iou: dict[str, Share | None]


class Licence(Schema):
    """Where something that a network was made from comes from, and its licence, or "unknown"."""

    source: str
    licence: str


class ModelFacts(Schema):
    """What MODEL_CARD.md says beside the metadata that a use of the network needs.

    `dataset` is its name, or empty. `photographs` are counted by split, `of_class` are those of
    train by class. `corrected` photographs were excluded or relabelled. `scores` are by the stages
    of SCORED. `fallen` says whether the CRF lowers them; earlier versions did not say it.
    `warnings` are what is known to make the network worse, or its scores say little. `fingerprint`
    is that of the training.
    """

    experiment: str
    dataset: str
    format: str
    photographs: dict[str, int]
    of_class: dict[str, int]
    corrected: int
    scores: dict[str, ModelScore]
    fallen: list[str] = Field(default=[])
    backbone: Licence
    saliency: Licence | None
    warnings: list[str]
    fingerprint: str


class ModelCard(Schema):
    """The metadata of a model file.

    `colors` are the RGB values of the background and of each class. `max_side` is the working size
    in pixels, 0 means that photographs keep their own. `scores` are mIoU by the stages of SCORED.
    Earlier versions wrote no `prediction`, no `crf` and no `facts`.
    """

    model_file: Literal[1]
    classes: list[str] = Field(min_length=1)
    colors: list[Color]
    settings: Segmentation
    preprocessing: Preprocessing
    max_side: int = Field(ge=0, le=MOST_PIXELS)
    prediction: Predict = Predict()
    crf: Crf | None = None
    supervision: Supervision
    scores: dict[str, Share]
    facts: ModelFacts | None = None
    provenance: dict[str, Any]

    @field_validator("crf", mode="before")
    @classmethod
    def _add_engine(cls, crf: Any) -> Any:
        """Earlier versions had no other engine than pydensecrf."""
        return {"engine": "pydensecrf", **crf} if isinstance(crf, dict) else crf

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if problem := problem_of_classes(self.classes):
            raise ValueError(f"classes {problem[0]}")
        if len(self.colors) != len(self.classes) + 1:
            raise ValueError(f"{len(self.colors)} colors for {len(self.classes)} classes")
        return self


def write_model(path: Path, weights: Path, facts: dict[str, Any]) -> ModelCard:
    """Write the model file of trained weights, and return its card.

    `facts` are what the metadata of the weights lack of a card.
    """
    state, metadata = read_state(weights)
    colors = voc_palette()[: len(metadata["classes"]) + 1].tolist()
    card = {**metadata, "model_file": 1, "colors": colors, **facts}
    ModelCard.model_validate(card)
    save_state(path, state, card)
    return ModelCard.model_validate(file_metadata(path))


def read_model(path: Path, device: torch.device) -> tuple[MultiScale, ModelCard]:
    """Return the network of a model file, ready to predict, and its card.

    Raise InputError if the file is no model file, or its weights do not fit its card.
    """
    metadata = file_metadata(path)
    if "model_file" not in metadata:
        kind = "weights alone, not a model file" if metadata else "not a model file"
        raise FileError(path, kind, GIVE)
    try:
        card = ModelCard.model_validate(metadata)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))[:100]
        problem = f"not a model file of this version ({place}: {first['msg'][:200]})"
        raise FileError(path, problem, "make it again with this version") from None
    model, preprocessing = load_segmentation(path, device)
    with refusing(path, "its network does not work", GIVE):
        if not np.isfinite(predict_logits(model, np.zeros(TRIED, np.uint8), preprocessing)).all():
            raise ValueError("its output is not finite")
    return model, card
