"""Ground truth that leaks into training, which would make scores worthless.

Leaks are validation images among the training images (by name or by content), initial weights that
have seen masks of the same data set, and pseudo labels that equal the ground truth.
"""

from pathlib import Path

import numpy as np

from i2crc.config.schema import Weights
from i2crc.data.images import IGNORE, read_label
from i2crc.data.index import Entry, Index
from i2crc.evaluation.ground_truth import compare_with_masks
from i2crc.models.weight_files import masks_seen
from i2crc.runtime.errors import InputError, Problem

SHOWN = 5
ALLOW = "to go on all the same, with a banner over every table: evaluation.allow_leaks: true"
TAKE_OUT = f"take it out of one of the lists; {ALLOW}"


def shared_images(train: Index, val: Index) -> list[Problem]:
    """Return the names and the photographs that are in both splits."""
    known = {*(entry.id for entry in train.images), *train.left_out}
    names = sorted(known.intersection([*(entry.id for entry in val.images), *val.left_out]))
    photographs = {entry.photograph.sha256: entry for entry in train.images}
    pairs = [(entry, photographs.get(entry.photograph.sha256)) for entry in val.images]
    twins = [
        f"{entry.photograph.image} = {twin.photograph.image}"
        for entry, twin in pairs
        if twin and twin.id != entry.id
    ]
    same_name = "a validation image that is in the training list too"
    return [Problem(name, same_name, TAKE_OUT) for name in names] + [
        Problem(twin, f"{same_name}, under another name", TAKE_OUT) for twin in twins
    ]


def weights_that_saw_masks(networks: dict[str, Weights], dataset: str) -> list[Problem]:
    """Return the initial weights of networks that saw masks of a data set.

    It is known by its name; without a name, masks of any data set count.
    """
    leaks = []
    for network, weights in networks.items():
        try:
            seen = masks_seen(weights)
        except InputError:
            continue  # preflight loads the weights and reports the error
        if seen and (not dataset or dataset in seen):
            place = f"{network}.weights ({weights.name or weights.source})"
            what = f"initial weights that have seen ground-truth masks of {', '.join(seen)}"
            remedy = f"choose others, or set dataset.name, if that is another data set; {ALLOW}"
            leaks.append(Problem(place, what, remedy))
    return leaks


def summary(leaks: list[Problem]) -> list[str]:
    """Return a sentence for each kind of leak, for a banner, with its first images or weights."""
    kinds: dict[str, list[str]] = {}
    for leak in leaks:
        kinds.setdefault(leak.problem, []).append(leak.file)
    return [
        f"{what} ({len(places)} in all): {', '.join(places[:SHOWN])}"
        for what, places in kinds.items()
    ]


def labels_equal_to_masks(
    index: Index, labels: dict[str, Path], allowed: int, threads: int
) -> list[str]:
    """Return a sentence if more than `allowed`, or all, pseudo labels equal the image's mask."""

    def is_equal(entry: Entry, truth: np.ndarray) -> bool:
        label, counted = read_label(labels[entry.id]), truth != IGNORE
        return truth.shape == label.shape and np.array_equal(truth[counted], label[counted])

    # The label of an image without a class is background, as its mask must be. A trusted mask is
    # meant to be the label.
    made = [e for e in index.images if e.classes != [] and not e.trusted_mask]
    masked = [entry for entry in made if entry.mask]
    equal = compare_with_masks(is_equal, masked, threads)
    leaks = [entry.id for entry, same in zip(masked, equal, strict=True) if same]
    if not leaks or (len(leaks) <= allowed and len(leaks) < len(masked)):
        return []
    return [
        f"segmentation.supervision is pseudo, but {len(leaks)} of {len(masked)} labels equal the "
        f"ground truth (first: {labels[leaks[0]]})"
    ]
