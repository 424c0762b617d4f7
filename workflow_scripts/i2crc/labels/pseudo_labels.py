"""Labels from attention and saliency (METHOD 13-16), and their refinement (METHOD 27).

An image that is known to hold no class is background everywhere.
"""

from collections.abc import Mapping

import numpy as np

from i2crc.config.schema import PseudoLabels
from i2crc.data.images import IGNORE
from i2crc.labels.strongest import strongest


def initial_label(
    attention: dict[int, np.ndarray],
    saliency: np.ndarray,
    classes: list[int],
    settings: PseudoLabels,
) -> np.ndarray:
    """Return the (H, W) uint8 label of one image: 0 background, class c as c + 1, 255 ignore.

    `attention` maps 0-based classes to (H, W) uint8, and may lack a class; `saliency` is (H, W)
    uint8; `classes` are the image's 0-based classes. The types follow METHOD 13: ties depend on
    them. A class without a map has no channel here: as an all-zero channel it would neither win
    nor conflict.
    """
    if not classes:
        return np.zeros(saliency.shape, dtype=np.uint8)
    # Ascending, because a tie goes to the lowest class.
    own = sorted(set(classes) & set(attention))
    scores = np.empty((1 + len(own), *saliency.shape), dtype=np.float32)
    scores[0] = 1 - saliency.astype(np.float32) / 255
    for channel, c in enumerate(own, 1):
        scores[channel] = _min_max(attention[c])
    is_object = (scores[1:] > settings.object_threshold).any(axis=0)
    scores[scores < settings.attention_threshold] = 0
    labels = np.array([0, *(c + 1 for c in own)], dtype=np.uint8)
    label = labels[strongest(scores)]
    above = scores > settings.conflict_threshold
    conflict = above.sum(axis=0, dtype=np.uint8) > 1
    label[conflict] = IGNORE
    doubtful = is_object | (saliency >= settings.salient_value)
    label[(label == 0) & doubtful] = IGNORE
    return drop_if_empty(label, settings.min_foreground)


def refine_label(
    prediction: np.ndarray, initial: np.ndarray, classes: list[int], min_foreground: float
) -> np.ndarray:
    """Return the refined (H, W) uint8 label of a prediction; steps a to d of METHOD 27.

    `initial` is the initial label, `classes` are the image's 0-based classes. With a smaller share
    of foreground than `min_foreground`, all pixels are 255. Step a finds no pixel if only the
    image's own classes took part in the CRF.
    """
    if not classes:
        return np.zeros_like(prediction)
    labels = np.array([c + 1 for c in classes], dtype=np.uint8)
    refined = prediction.copy()
    refined[~np.isin(refined, [0, *labels])] = IGNORE
    if len(labels) > 1:
        missed = (refined == 0) & (initial != 0)
        refined[missed] = initial[missed]
    if not np.isin(labels, refined).all():
        refined[refined == 0] = IGNORE
    return drop_if_empty(refined, min_foreground)


def label_from_attention(
    attention: Mapping[int, np.ndarray], size: tuple[int, int], background: float
) -> np.ndarray:
    """Return the (H, W) uint8 label of the strongest class; 0 up to `background` (0..1).

    `attention` maps 0-based classes to (H, W) uint8, and `size` is (H, W); a tie goes to the first.
    """
    labels = np.array([0, *(c + 1 for c in attention)], dtype=np.uint8)
    channels = np.stack([np.full(size, background * 255), *attention.values()])
    return labels[strongest(channels)]


def drop_if_empty(label: np.ndarray, min_foreground: float) -> np.ndarray:
    """Return the label; with a smaller share of foreground than `min_foreground`, all 255."""
    foreground = (label != 0) & (label != IGNORE)
    if foreground.sum() < min_foreground * label.size:
        return np.full_like(label, IGNORE)
    return label


def _min_max(values: np.ndarray) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    # Compute once for each of the 256 values, then look up.
    scaled = (np.arange(256) - low) / (high - low + 1e-8)
    return scaled.astype(np.float32)[values]
