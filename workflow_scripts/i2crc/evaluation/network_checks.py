"""Checks of preflight that build networks: backbones and weights that do not fit."""

from pathlib import Path
from typing import Any

from i2crc.config.schema import Classifier, SaliencyModel, Segmentation
from i2crc.data.images import read_photo
from i2crc.data.index import Index
from i2crc.data.saliency import MapFacts
from i2crc.evaluation.data_checks import check_saliency
from i2crc.fetch.sources import local_path
from i2crc.inference.prediction import load_published
from i2crc.inference.saliency import NOT_FINITE, load_saliency, saliency_map
from i2crc.models.cam_classifier import build_classifier
from i2crc.models.deeplab import build_segmentation
from i2crc.models.pretrained import insert, load_pretrained
from i2crc.models.weight_files import saliency_network
from i2crc.runtime.errors import FileError, InputError, Problem, problem_of

# Photographs whose saliency maps are computed before all others.
TRIED = 8


def check_network(
    name: str, settings: Classifier | Segmentation, classes: int
) -> tuple[int, list[Problem]]:
    """Return the number of parameters of a network to train, and its problem if there is one.

    Build the network for `classes` foreground classes and load its initial weights. The number is
    0 if the network cannot be built.
    """
    network: Any
    parameters = 0
    try:
        if isinstance(settings, Classifier):
            base = network = build_classifier(settings, classes)
        else:
            network = build_segmentation(settings, classes)
            base = network.base
        parameters = sum(values.numel() for values in network.parameters())
        insert(base.features, load_pretrained(settings.weights, settings.backbone))
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


def judge_saliency_model(
    model: SaliencyModel, train: Index | None
) -> tuple[list[Problem], list[str]]:
    """Return why a network cannot compute saliency maps, and warnings of some maps that it makes.

    The photographs are some of `train`. No masks are looked at.
    """
    facts = MapFacts()
    entries = train.images if train else []
    tried = entries[:: max(1, len(entries) // TRIED)][:TRIED]
    try:
        path, _ = saliency_network(model)
        network = load_saliency(path, model)
        for entry in tried:
            photo = read_photo(Path(entry.image))
            try:
                facts.add(f"{entry.id}.png", saliency_map(network, photo, model))
            except InputError:  # the only one that a map raises
                return [Problem(entry.image, *NOT_FINITE)], []
    except FileError as error:
        return [error.problem], []
    negatives = {f"{entry.id}.png" for entry in tried if entry.classes == []}
    found = {**facts.summary(), "count": len(tried), "source": str(path)}
    return check_saliency(found, negatives) if tried else ([], [])
