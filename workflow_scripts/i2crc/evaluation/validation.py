"""What a segmentation network is scored on while it trains (`segmentation.validations`)."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import nn

from i2crc.config.schema import Segmentation
from i2crc.data.images import IGNORE, read_label, read_photo, resize_nearest
from i2crc.data.index import Entry, Index
from i2crc.data.transforms import Preprocessing
from i2crc.inference.prediction import predict_logits
from i2crc.labels.strongest import strongest
from i2crc.models.upsampling import upsample
from i2crc.runtime.log import log
from i2crc.training.loop import Validation

# At 14 photographs/s and 0.55 s a step (2 cores), 5 validations on 100 photographs take 6 % of the
# training of voc12-small.yaml.
MOST_SCORED = 100
MOST_HELD_OUT = 50


def validation_of(
    index: Index, labels: Mapping[str, Path], dev: Index | None, settings: Segmentation, seed: int
) -> tuple[Index, Validation | None]:
    """Return the index to train on, and what the network is scored on meanwhile; None: nothing.

    The masks of `dev` choose the weights. Without it, the network is compared with the labels of
    training photographs that are left out of the index (`segmentation.hold_out`).
    """
    if dev:
        masks = {entry.id: Path(entry.mask) for entry in dev.images if entry.mask}
        scored = drawn(dev.images, seed)
        score = miou_on(scored, masks, index.classes)
        times = settings.validations
        return index, Validation("dev_miou", len(scored), times, score, chooses=True)
    held = hold_out(index.images, settings.hold_out, seed)
    if not held:
        if settings.hold_out:
            log.warning("no photograph is left out (segmentation.hold_out): each class has too few")
        return index, None
    ids = {entry.id for entry in held}
    rest = [entry for entry in index.images if entry.id not in ids]
    score = miou_on(held, labels, index.classes)
    validation = Validation("held_out_miou", len(held), settings.validations, score)
    return replace(index, images=rest), validation


def drawn(entries: Sequence[Entry], seed: int) -> list[Entry]:
    """Return at most MOST_SCORED of the entries, in their order."""
    order = np.random.default_rng(seed).permutation(len(entries))[:MOST_SCORED]
    return [entries[number] for number in sorted(order)]


def hold_out(entries: Sequence[Entry], share: float, seed: int) -> list[Entry]:
    """Return about a share of the entries, at most MOST_HELD_OUT, in their order.

    The rest has all photographs with a trusted mask, and one at least of each class.
    """
    wanted = min(round(share * len(entries)), MOST_HELD_OUT)
    left = Counter(c for entry in entries for c in entry.classes or ())
    held: list[int] = []
    for number in np.random.default_rng(seed).permutation(len(entries)):
        entry = entries[number]
        classes = entry.classes or ()
        if len(held) < wanted and not entry.trusted_mask and all(left[c] > 1 for c in classes):
            held.append(number)
            left.subtract(classes)
    return [entries[number] for number in sorted(held)]


def miou_on(
    entries: Sequence[Entry], labels: Mapping[str, Path], classes: Sequence[str]
) -> Callable[[nn.Module, Preprocessing], float]:
    """Return what scores a network in evaluation mode: its mIoU with labels, in 0..1.

    Photographs are predicted as by the stage `predict`, and compared at their working size.
    """
    count = 1 + len(classes)

    def score(model: nn.Module, preprocessing: Preprocessing) -> float:
        counts = np.zeros((count, count), np.int64)
        for entry in entries:
            photo = np.asarray(read_photo(Path(entry.image)))
            logits = predict_logits(model, photo, preprocessing)
            prediction = strongest(upsample(logits, photo.shape[:2]))
            label = resize_nearest(read_label(labels[entry.id]), entry.size)
            known = label != IGNORE
            pairs = label[known].astype(np.int64) * count + prediction[known]
            counts += np.bincount(pairs, minlength=count**2).reshape(count, count)
        return mean_iou(counts)

    return score


def mean_iou(counts: np.ndarray) -> float:
    """Return the mean IoU of (C, C) pixel counts, label x prediction, over classes of the labels.

    It is that of evaluation.metrics, from which nothing is imported: a change there must not train
    again what it does not concern.
    """
    both = np.diag(counts)
    either = counts.sum(axis=0) + counts.sum(axis=1) - both
    labelled = counts.sum(axis=1) > 0
    return float((both[labelled] / either[labelled]).mean()) if labelled.any() else 0.0
