"""Average precision of a ranking, as VOC defines it since 2010."""

import numpy as np


def average_precision(scores: np.ndarray, positive: np.ndarray) -> float | None:
    """Return the area (0..1) under the precision-recall curve of (N,) scores and (N,) bool truth.

    As in VOC since 2010 (Everingham et al., "The PASCAL Visual Object Classes Challenge: A
    Retrospective", section 3), the precision at a recall is the highest precision at that recall
    or any higher one. The area is exact, not sampled at eleven points. Images of the same score
    enter the curve together, so their order does not matter. Return None without a positive.
    """
    if not positive.any():
        return None
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(positive[order])
    # The curve has a point before each change of the score, and one at the end.
    last = np.append(np.diff(scores[order]) != 0, True)
    found = np.arange(1, len(scores) + 1)[last]
    precision = hits[last] / found
    recall = hits[last] / hits[-1]
    highest = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0) * highest).sum())
