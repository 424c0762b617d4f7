"""Confidence intervals of the mIoU by a bootstrap over images, from the counts of each image."""

import numpy as np

from i2crc.runtime.atomic import digest_bytes


def image_counts(confusion: np.ndarray) -> np.ndarray:
    """Return the (4, L) counts of an image from its (L, L + 1) confusion matrix.

    There is a column per label. The rows count its hits, its pixels in the truth (including those
    predicted 255), the pixels predicted as it, and its true pixels that were predicted 255.
    """
    answered = confusion[:, :-1]
    return np.stack(
        [np.diag(answered), confusion.sum(axis=1), answered.sum(axis=0), confusion[:, -1]]
    )


def counts_text(counts: np.ndarray) -> str:
    """Return (4, L) counts as text, `label:hits:truth:predicted:ignored` per label that occurs."""
    labels = np.flatnonzero(counts.any(axis=0))
    return " ".join(f"{label}:" + ":".join(map(str, counts[:, label])) for label in labels)


def read_counts(text: str, num_labels: int) -> np.ndarray:
    """Return the (4, L) int64 counts of an image from their text; raise ValueError if malformed."""
    counts = np.zeros((4, num_labels), np.int64)
    for field in text.split():
        label, hits, truth, predicted, ignored = map(int, field.split(":"))
        counts[:, label] = hits, truth, predicted, ignored
    return counts


def weights(image_id: str, replicates: int) -> np.ndarray:
    """Return (R,) int64: how often each replicate draws an image, Poisson with mean 1.

    It depends on the id alone, so experiments with the same images draw the same resamples.
    """
    seed = int(digest_bytes(image_id.encode()), 16)
    return np.random.default_rng(seed).poisson(1, replicates)


class Bootstrap:
    """The mIoU of R resampled data sets, from images that are added one after the other.

    Drawing n of n images with replacement takes each image about Poisson(1) times. With these
    weights the number of images need not be known, and memory does not grow with it.
    """

    def __init__(self, num_labels: int, replicates: int) -> None:
        self.sums = np.zeros((4, num_labels, replicates), np.int64)

    def add(self, image_id: str, counts: np.ndarray) -> None:
        """Add an image with its (4, L) counts."""
        drawn = weights(image_id, self.sums.shape[2])
        labels = np.flatnonzero(counts.any(axis=0))
        self.sums[:, labels] += counts[:, labels, None] * drawn

    def mious(self, as_background: bool) -> np.ndarray:
        """Return the (R,) mIoU of all replicates; predicted 255 is left out or `as_background`.

        The mean is over the labels in a replicate's truth; a replicate without any is NaN.
        """
        hits, truth, predicted, ignored = self.sums
        if as_background:
            hits, predicted = hits.copy(), predicted.copy()
            hits[0] += ignored[0]
            predicted[0] += ignored.sum(axis=0)
        else:
            truth = truth - ignored
        present = truth > 0
        union = np.maximum(truth + predicted - hits, 1)
        number = present.sum(axis=0)
        total = np.where(present, hits / union, 0).sum(axis=0)
        return np.divide(total, number, out=np.full(len(number), np.nan), where=number > 0)


def interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float] | None:
    """Return the central interval that holds a share `level` of (R,) replicates.

    NaN is left out. Return None if all values are NaN.
    """
    known = values[~np.isnan(values)]
    if not known.size:
        return None
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
