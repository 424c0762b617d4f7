"""Initial labels from attention and saliency (METHOD 13-16), and their refinement (METHOD 27)."""

import numpy as np

from i2crc.config import PseudoLabels
from i2crc.images import IGNORE


def initial_label(
    attention: dict[int, np.ndarray],
    saliency: np.ndarray,
    classes: list[int],
    num_classes: int,
    settings: PseudoLabels,
) -> np.ndarray:
    """Label (H, W) uint8 of one image: 0 background, class c as c + 1, 255 ignore.

    attention: 0-based class -> (H, W) uint8, a class may be absent; saliency (H, W) uint8;
    `classes` are the image's 0-based classes. The types follow METHOD 13: ties depend on them.
    """
    scores = np.zeros((num_classes + 1, *saliency.shape), dtype=np.float32)
    scores[0] = 1 - saliency.astype(np.float32) / 255
    is_object = np.zeros(saliency.shape, dtype=bool)
    for c in classes:
        if c in attention:
            scores[c + 1] = _min_max(attention[c])
            is_object |= scores[c + 1] > settings.object_threshold
    scores[scores < settings.attention_threshold] = 0
    label = scores.argmax(axis=0).astype(np.uint8)
    conflict = (scores > settings.conflict_threshold).sum(axis=0) > 1
    label[conflict] = IGNORE
    doubtful = is_object | (saliency >= settings.salient_value)
    label[(label == 0) & doubtful] = IGNORE
    return drop_if_empty(label, settings.min_foreground)


def refine_label(
    prediction: np.ndarray, initial: np.ndarray, classes: list[int], min_foreground: float
) -> np.ndarray:
    """Object-guided refinement of a (H, W) uint8 prediction; steps a to d of METHOD 27."""
    labels = np.array([c + 1 for c in classes], dtype=np.uint8)
    refined = prediction.copy()
    refined[~np.isin(refined, [0, *labels])] = IGNORE
    if len(labels) > 1:
        missed = (refined == 0) & (initial != 0)
        refined[missed] = initial[missed]
    if not np.isin(labels, refined).all():
        refined[refined == 0] = IGNORE
    return drop_if_empty(refined, min_foreground)


def drop_if_empty(label: np.ndarray, min_foreground: float) -> np.ndarray:
    """The label, or all 255 where its foreground is a smaller share of the pixels."""
    foreground = (label != 0) & (label != IGNORE)
    if foreground.sum() < min_foreground * label.size:
        return np.full_like(label, IGNORE)
    return label


def _min_max(values: np.ndarray) -> np.ndarray:
    values = values.astype(np.float64)
    low, high = values.min(), values.max()
    return ((values - low) / (high - low + 1e-8)).astype(np.float32)
