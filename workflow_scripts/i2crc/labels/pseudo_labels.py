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
    # Inverted, so that in all channels a higher value has a higher score.
    maps = [~saliency, *(attention[c] for c in own)]
    # The score of each of the 256 values of a channel.
    background = 1 - np.arange(255, -1, -1, dtype=np.float32) / 255
    tables = np.stack([background, *(_min_max_table(values) for values in maps[1:])])
    doubtful = saliency >= settings.salient_value
    for values, table in zip(maps[1:], tables[1:], strict=True):
        doubtful |= _above(values, table, settings.object_threshold)
    tables[tables < settings.attention_threshold] = 0
    label = np.zeros(saliency.shape, dtype=np.uint8)
    for channel, c in enumerate(own, 1):
        strongest_yet = np.ones(saliency.shape, dtype=bool)
        for other in range(channel):
            # For each value of the other channel: the highest value here without a higher score.
            beaten = np.searchsorted(tables[channel], tables[other], "right") - 1
            strongest_yet &= maps[channel] > beaten.astype(np.uint8).take(maps[other])
        label[strongest_yet] = c + 1
    pairs = zip(maps, tables, strict=True)
    strong = [_above(*pair, settings.conflict_threshold).view(np.uint8) for pair in pairs]
    label[sum(strong) > 1] = IGNORE
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
    labels = [c + 1 for c in classes]
    table = np.full(256, IGNORE, dtype=np.uint8)
    table[[0, *labels]] = [0, *labels]
    refined = table.take(prediction)
    if len(labels) > 1:
        np.copyto(refined, initial, where=refined == 0)
    if not all((refined == label).any() for label in labels):
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
    if np.count_nonzero(foreground) < min_foreground * label.size:
        return np.full_like(label, IGNORE)
    return label


def _min_max_table(values: np.ndarray) -> np.ndarray:
    """Return the (256,) float32 scores of the values 0..255 in a min-max scaled uint8 map."""
    low, high = float(values.min()), float(values.max())
    return ((np.arange(256) - low) / (high - low + 1e-8)).astype(np.float32)


def _above(values: np.ndarray, table: np.ndarray, threshold: float) -> np.ndarray:
    """Return (H, W) bool: whether the score of a value is above; scores in the table ascend."""
    return values > 255 - int(np.count_nonzero(table > threshold))
