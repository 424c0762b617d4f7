"""Sweeps: the scores of the training labels that each value of one threshold would give."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import ValidationError

from i2crc.artifacts.manifest import read_manifests
from i2crc.config.schema import Evaluation, PseudoLabels, Section
from i2crc.data.images import read_gray
from i2crc.data.index import Entry, Index
from i2crc.evaluation.ground_truth import masked_images, read_mask
from i2crc.evaluation.metrics import confusion, scores
from i2crc.labels.pseudo_labels import initial_label, label_from_attention
from i2crc.runtime.errors import InputError
from i2crc.runtime.parallel import map_in_order

MIOUS = ("miou", "miou_255_as_background", "miou_255_as_wrong")
AnySection = TypeVar("AnySection", bound=Section)
# Name of a map -> its file.
Files = dict[str, Path]


def sweep(
    section: Evaluation | PseudoLabels,
    parameter: str,
    values: list[float],
    index: Index,
    cams: Sequence[Path],
    saliency: Sequence[Path],
    threads: int,
) -> dict[str, Any]:
    """Return the scores for each of `values` of `parameter`, and for the value in `section`.

    `cams` and `saliency` are manifests of the maps that labels are made from; with an `Evaluation`
    the attention maps suffice. "points" are in ascending order of their values. "fixed" is the
    point of the value in `section`, "oracle" the best point of each mIoU. Without a mask both are
    None. Raise InputError for a value outside its range, or a map that does not fit its mask.
    """
    tried = variants(section, parameter, values)
    tried_values = [getattr(one, parameter) for one in tried]
    attention, saliency_maps = _files(cams), _files(saliency)
    names = ["background", *index.classes]
    scored, unscored = masked_images(index)

    def count(entry: Entry) -> np.ndarray:
        truth = read_mask(entry)
        try:
            labels = _labels(entry, tried, attention, saliency_maps)
            return np.stack([confusion(truth, label, len(names)) for label in labels])
        except ValueError as error:
            raise InputError(f"{entry.mask}: {error}; replace the mask") from error

    counts = np.zeros((len(tried), len(names), len(names) + 1), np.int64)
    for counted in map_in_order(count, scored, threads):
        counts += counted
    points = measure(tried_values, counts, names)
    known = counts.any()
    return {
        "images": len(scored),
        "points": points,
        "fixed": points[tried_values.index(getattr(section, parameter))] if known else None,
        "oracle": oracle(points) if known else None,
        "images_without_mask": unscored,
    }


def with_value(section: AnySection, parameter: str, value: float) -> AnySection:
    """Return `section` with another value of `parameter`; raise InputError if it is not allowed."""
    try:
        return type(section).model_validate({**section.model_dump(), parameter: value})
    except ValidationError as error:
        problem = error.errors()[0]["msg"]
        raise InputError(f"{parameter} cannot be {value}: {problem}; leave it out") from None


def variants(section: AnySection, parameter: str, values: list[float]) -> list[AnySection]:
    """Return `section` with each of `values`, and with its own value, in ascending order."""
    tried = sorted({getattr(section, parameter), *values})
    return [with_value(section, parameter, value) for value in tried]


def measure(values: list[float], counts: np.ndarray, names: list[str]) -> list[dict[str, Any]]:
    """Return the points of a sweep: the scores of V values from (V, L, L + 1) confusion counts.

    `names` are the L label names. Without a counted pixel the scores are None.
    """
    points = []
    for value, found in zip(values, counts, strict=True):
        score = scores(found, names)
        known = found.any()
        chosen = {name: score[name] if known else None for name in (*MIOUS, "coverage")}
        points.append({"value": value, **chosen})
    return points


def oracle(points: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the best point of each mIoU; of equal points, the one with the lowest value."""
    return {name: max(points, key=lambda point: point[name]) for name in MIOUS}


def _labels(
    entry: Entry, tried: Sequence[Any], cams: Files, saliency_maps: Files
) -> Iterator[np.ndarray]:
    """Yield the (H, W) uint8 label of an image for each of the tried sections."""
    attention = {c: read_gray(cams[f"{entry.id}_{c}.png"]) for c in entry.classes or []}
    classes = list(attention)
    if isinstance(tried[0], PseudoLabels):
        saliency = read_gray(saliency_maps[f"{entry.id}.png"])
        yield from (initial_label(attention, saliency, classes, one) for one in tried)
    else:
        maps = np.stack(list(attention.values()))
        yield from (label_from_attention(maps, classes, one.cam_background) for one in tried)


def _files(manifests: Sequence[Path]) -> Files:
    return {name: path for name, (path, _) in read_manifests(manifests).items()}
