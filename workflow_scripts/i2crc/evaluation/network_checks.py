"""Checks of preflight that need the networks: weights that do not fit, and the disk that they take."""

from torch import nn

from i2crc.config.schema import Classifier, Segmentation
from i2crc.data.index import Index
from i2crc.evaluation import disk
from i2crc.fetch.download import local_path
from i2crc.inference.prediction import load_published
from i2crc.models.cam_classifier import build_classifier
from i2crc.models.deeplab import build_segmentation
from i2crc.models.pretrained import insert, load_pretrained
from i2crc.runtime.errors import InputError, Problem, problem_of

Networks = dict[str, Classifier | Segmentation]


def network_problems(
    name: str, settings: Classifier | Segmentation, classes: int
) -> tuple[int, list[Problem]]:
    """The number of parameters of a network that is to be trained (0 where it cannot be built),
    and why it or its initial weights cannot be had.
    """
    model: nn.Module
    parameters = 0
    try:
        if isinstance(settings, Classifier):
            model = build_classifier(settings, classes)
            features = model.features
        else:
            model = build_segmentation(settings, classes)
            features = model.base.features
        parameters = sum(values.numel() for values in model.parameters())
        insert(features, load_pretrained(settings.weights, settings.backbone))
    except InputError as error:
        return parameters, [problem_of(error, f"{name}.weights", f"see the settings of {name}")]
    return parameters, []


def checkpoint_problems(source: str, settings: Segmentation, classes: int) -> list[Problem]:
    """Why the checkpoint to evaluate, if it is a file here, cannot be loaded."""
    try:
        path = local_path(source)
        if path is not None:
            load_published(path, settings, classes)
    except InputError as error:
        return [problem_of(error, source, "see the setting checkpoint.source")]
    return []


def planned_bytes(
    indexes: list[Index], networks: Networks, parameters: dict[str, int]
) -> dict[str, int]:
    """Bytes on disk of what is to be made, by what it is made of."""
    segmentation = networks["segmentation"]
    pseudo = segmentation.supervision == "pseudo" and "classifier" in networks
    planned: dict[str, int] = {}
    for index in indexes:
        labels = len(index.classes) + 1
        each = disk.predicted_bytes
        if index.split == "train":
            each = disk.training_image_bytes
        if index.split != "train" or pseudo:
            size = sum(each(entry, labels, segmentation.output_stride) for entry in index.images)
            planned[f"images of {index.split}"] = round(size)
    for name, count in parameters.items():
        rounds = 2 if name == "segmentation" and pseudo else 1
        size = disk.training_bytes(count, networks[name].optimizer.name)
        planned[f"training of {name}"] = rounds * size
    return planned
