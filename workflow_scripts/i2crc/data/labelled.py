"""What the reader of a format finds: photographs, each with the names of its classes."""

from dataclasses import dataclass, field
from typing import Any

from i2crc.runtime.errors import Problem

# The word for: none of the classes.
NEGATIVE = "_none"
# Words that folders and tables use for it, with or without underscores around them.
NONE_WORDS = ("none", "negative", "negatives", "background", "backgrounds")


@dataclass
class Labelled:
    """A photograph, the names of its classes, and the place (`FILE:LINE`) that gives them.

    `shapes` are its annotated objects, from which its mask can be drawn (see shapes.py), and `size`
    is the (width, height) that they were annotated at.
    """

    labels: set[str]
    place: str
    shapes: list[dict[str, Any]] | None = None
    size: tuple[int, int] | None = None


@dataclass
class Labels:
    """The photographs of a split, by their names below the folder of the photographs.

    `classes` are the names of classes in label order, also of those that no photograph has.
    """

    photographs: dict[str, Labelled] = field(default_factory=dict)
    classes: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def means_none(label: str) -> bool:
    """Return whether a label says that its photograph shows none of the classes."""
    return label.casefold().strip("_") in NONE_WORDS
