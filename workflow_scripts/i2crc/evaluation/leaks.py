"""Ground truth that leaks into training, which would make scores worthless.

Leaks are validation images among the training images (by name or by content), initial weights that
have seen masks of the same data set, and pseudo labels that equal the ground truth.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from i2crc.config.schema import Weights
from i2crc.data.images import IGNORE, read_label
from i2crc.data.index import Entry, Index
from i2crc.models.weight_files import masks_seen
from i2crc.runtime.errors import InputError, Problem

SHOWN = 5
TAKE_OUT = "take it out of one of the lists"
ALLOW = "to go on all the same, with a banner over every table: evaluation.allow_leaks: true"
# A sentence for the banner, and the problems that it summarises.
Finding = tuple[str, list[Problem]]


def shared_images(train: Index, val: Index) -> list[Finding]:
    """Return findings on names and photographs that are in both splits."""
    findings = []
    ids = [{*(entry.id for entry in index.images), *index.left_out} for index in (train, val)]
    names = sorted(ids[0] & ids[1])
    if names:
        text = f"{len(names)} validation images are in the training list: {_some(names)}"
        what = "a validation image that is in the training list too"
        findings.append((text, [Problem(name, what, f"{TAKE_OUT}; {ALLOW}") for name in names]))
    trained = {entry.sha256: entry for entry in train.images}
    twins = [
        (trained[entry.sha256].image, entry.image)
        for entry in val.images
        if entry.sha256 in trained and trained[entry.sha256].id != entry.id
    ]
    if twins:
        shown = _some([f"{one} = {other}" for one, other in twins])
        text = f"{len(twins)} validation images are training images under another name: {shown}"
        problems = [
            Problem(
                other, f"a validation image, the same as {one} of training", f"{TAKE_OUT}; {ALLOW}"
            )
            for one, other in twins
        ]
        findings.append((text, problems))
    return findings


def weights_that_saw_masks(networks: dict[str, Weights], name: str) -> list[Finding]:
    """Return findings on networks whose initial weights saw masks of the data set `name`."""
    findings = []
    for network, weights in networks.items():
        try:
            seen = masks_seen(weights)
        except InputError:
            continue  # preflight loads the weights and reports the error
        if seen and not name:
            what = f"have seen masks of {_some(seen)}, and dataset.name is empty"
            remedy = "name the data set, so that they can be compared"
        elif name in seen:
            chosen = weights.name or weights.source
            what = f"({chosen}) have seen ground-truth masks of {name}, the data set that is scored"
            remedy = "choose other weights"
        else:
            continue
        problem = Problem(f"{network}.weights", what, f"{remedy}; {ALLOW}")
        findings.append((f"{network}.weights {what}", [problem]))
    return findings


def labels_equal_to_masks(
    index: Index, labels: dict[str, Path], allowed: int, threads: int
) -> list[str]:
    """Return a sentence if more than `allowed`, or all, pseudo labels equal the image's mask."""

    def equal(entry: Entry) -> bool:
        truth, label = read_label(Path(entry.mask or "")), read_label(labels[entry.id])
        counted = truth != IGNORE
        return truth.shape == label.shape and np.array_equal(truth[counted], label[counted])

    masked = [entry for entry in index.images if entry.mask]
    with ThreadPoolExecutor(threads) as pool:
        leaks = [e.id for e, same in zip(masked, pool.map(equal, masked), strict=True) if same]
    if not leaks or (len(leaks) <= allowed and len(leaks) < len(masked)):
        return []
    return [
        f"segmentation.supervision is pseudo, but {len(leaks)} of {len(masked)} labels equal the "
        f"ground truth (first: {labels[leaks[0]]})"
    ]


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
