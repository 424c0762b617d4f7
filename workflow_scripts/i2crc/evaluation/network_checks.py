"""Checks of preflight that build networks: backbones and weights that do not fit."""

from collections.abc import Mapping

from torch import nn

from i2crc.config.schema import Classifier, Segmentation
from i2crc.fetch.sources import local_path
from i2crc.inference.prediction import load_published
from i2crc.models.cam_classifier import build_classifier
from i2crc.models.deeplab import build_segmentation
from i2crc.models.pretrained import insert, load_pretrained
from i2crc.runtime.errors import InputError, Problem, problem_of


def check_networks(
    networks: Mapping[str, Classifier | Segmentation], classes: int
) -> tuple[dict[str, int], list[Problem]]:
    """Return the number of parameters of each network to train, and the problems of all of them."""
    parameters: dict[str, int] = {}
    problems = []
    for name, settings in networks.items():
        parameters[name], found = network_problems(name, settings, classes)
        problems += found
    return parameters, problems


def network_problems(
    name: str, settings: Classifier | Segmentation, classes: int
) -> tuple[int, list[Problem]]:
    """Return the number of parameters of a network to train, and its problem if there is one.

    Build the network for `classes` foreground classes and load its initial weights. The number is
    0 if the network cannot be built.
    """
    features: nn.Module
    parameters = 0
    try:
        if isinstance(settings, Classifier):
            classifier = build_classifier(settings, classes)
            parameters, features = _size(classifier), classifier.features
        else:
            segmentation = build_segmentation(settings, classes)
            parameters, features = _size(segmentation), segmentation.base.features
        insert(features, load_pretrained(settings.weights, settings.backbone))
    except InputError as error:
        return parameters, [problem_of(error, f"{name}.weights", f"see the settings of {name}")]
    return parameters, []


def checkpoint_problems(source: str, settings: Segmentation, classes: int) -> list[Problem]:
    """Return why a checkpoint cannot be evaluated; nothing if it is not a file of this machine."""
    try:
        path = local_path(source)
        if path is not None:
            load_published(path, settings, classes)
    except InputError as error:
        return [problem_of(error, source, "see the setting checkpoint.source")]
    return []


def _size(model: nn.Module) -> int:
    return sum(values.numel() for values in model.parameters())
