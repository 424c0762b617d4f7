"""Sweeps: the scores that a range of values of one setting would give."""

from typing import Any

import numpy as np
from pydantic import ValidationError

from i2crc.config.schema import Section
from i2crc.evaluation.metrics import scores
from i2crc.runtime.errors import InputError

MIOUS = ("miou", "miou_255_as_background", "miou_255_as_wrong")


def with_value(section: Section, parameter: str, value: float) -> Section:
    """`section` with another value of `parameter`; InputError for one that it cannot have."""
    try:
        return type(section).model_validate({**section.model_dump(), parameter: value})
    except ValidationError as error:
        problem = error.errors()[0]["msg"]
        raise InputError(f"{parameter} cannot be {value}: {problem}; leave it out") from None


def variants(section: Section, parameter: str, values: list[float]) -> list[Section]:
    """`section` with each of `values`, and its own, as `parameter`: ascending, each once."""
    tried = sorted({getattr(section, parameter), *values})
    return [with_value(section, parameter, value) for value in tried]


def measure(values: list[float], counts: np.ndarray, names: list[str]) -> list[dict[str, Any]]:
    """The points of a sweep: the scores of each of V values from (V, L, L + 1) confusion counts.

    `names` are the L label names. Without a counted pixel the scores are null.
    """
    points = []
    for value, found in zip(values, counts, strict=True):
        score = scores(found, names)
        known = found.any()
        chosen = {name: score[name] if known else None for name in (*MIOUS, "coverage")}
        points.append({"value": value, **chosen})
    return points


def oracle(points: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """For each way to count 255 the best point, of equal ones the lowest value's."""
    return {name: max(points, key=lambda point: point[name]) for name in MIOUS}
