"""Checks of preflight on the meaning of the data: masks, classes, splits and saliency maps."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from i2crc.data.index import Entry, Index
from i2crc.runtime.errors import Problem, listing

BINARY = "if every value but 0 means its photograph's one class, set dataset.binary_masks: true; "
# Photographs of a class that a training should have at least.
FEW = 5
# Scored images below which a warning is given. The percentile bootstrap of a mean over n images is
# too narrow by 1.96 / t(n - 1) x sqrt((n - 1) / n): to 0.63 for 5, 0.82 for 10, 0.91 for 20 images.
FEWEST_SCORED = 20
# Share of saliency maps that miss the object. U2-Net-p misses it in 5 % of 311 VOC photographs.
MOST_MISSES = 0.25


def check_masks(index: Index) -> tuple[list[Problem], list[str]]:
    """Return the problem and the warning of masks that do not fit their photograph's classes.

    It is a problem if it holds for most masks of the split, or if all of them hold nothing but 0, 1
    and 255 where a photograph has another class than the first: such masks mean something else. It
    is one, too, if no mask has background. The mask of a photograph without a class has to be
    background.
    """
    masked = [entry for entry in index.images if entry.mask_values is not None]
    if masked and not any(0 in (entry.mask_values or ()) for entry in masked):
        remedy = "save the background as 0; 255 is for pixels that are not scored"
        folder = Path(masked[0].mask or "").parent
        found = f"no mask of {index.split} has the value 0, so that no background is scored"
        return [Problem(str(folder), found, remedy)], []
    labelled = [entry for entry in masked if entry.classes is not None]
    wrong = [entry for entry in labelled if not _fits(entry)]
    if not any(entry.mask_classes for entry in masked):
        wrong = [e for e in masked if e.classes != [] or e.mask_values != [0]]
    holds_first_alone = all(set(entry.mask_values or ()) <= {0, 1, 255} for entry in masked)
    if not wrong:
        if masked and not labelled and holds_first_alone and len(index.classes) > 1:
            text = f"all masks of {index.split} show {index.classes[0]} alone, as value 1; {BINARY}"
            return [], [f"{text}else ignore this"]
        return [], []
    folder = Path(wrong[0].mask or "").parent
    what = f"{len(wrong)} of {len(masked)} masks of {index.split} do not fit their photograph's"
    is_binary = holds_first_alone and any(e.mask_classes for e in wrong if e.classes)
    if not is_binary and 2 * len(wrong) <= len(labelled):
        names = listing([Path(entry.mask or "").name for entry in wrong])
        found = f"{what} classes ({names}): {_example(wrong[0], index.classes)}"
        return [], [f"{folder}: {found}; they are scored as they are"]
    most_values = max(len({*(entry.mask_values or ())} - {0}) for entry in wrong)
    remedy = f"{BINARY}else " if most_values == 1 else ""
    remedy += "save class number + 1 as the values of a mask"
    problem = f"{what} classes; {_example(wrong[0], index.classes)}"
    return [Problem(str(folder), problem, remedy)], []


def _fits(entry: Entry) -> bool:
    """Return whether a mask shows one of its photograph's classes; no class, if it has none."""
    shown = set(entry.mask_classes)
    return bool(shown & set(entry.classes)) if entry.classes else not shown


def _example(entry: Entry, classes: Sequence[str]) -> str:
    """Return what a mask holds, and what its photograph's classes would be."""
    values = ", ".join(map(str, entry.mask_values or ()))
    wanted = ", ".join(f"{classes[c]} (value {c + 1})" for c in entry.classes or ())
    if wanted:
        wanted = f"its photograph shows {wanted}"
    elif entry.mask_classes:
        wanted = "its photograph has no class"
    else:
        wanted = "0 is background and 255 is ignored"
    return f"{Path(entry.mask or '').name} holds {values}, but {wanted}"


def check_splits(indexes: Mapping[str, Index], has_masks: bool) -> list[str]:
    """Return warnings of classes that cannot be learnt, and of a split that can hardly be scored.

    `indexes` maps the names of the splits to their indexes.
    """
    warnings = []
    train, val = indexes.get("train"), indexes.get("val")
    shown = {c for e in (val.images if val else ()) for c in e.classes or e.mask_classes}
    if train:
        counts = Counter(c for entry in train.images for c in entry.classes or ())
        absent = [c for c in range(len(train.classes)) if not counts[c]]
        few = [c for c in range(len(train.classes)) if 0 < counts[c] < FEW]
        in_val = listing([train.classes[c] for c in absent if c in shown])
        elsewhere = listing([train.classes[c] for c in absent if c not in shown])
        numbers = listing([f"{train.classes[c]} ({counts[c]})" for c in few])
        if in_val:
            warnings.append(
                f"train has no photograph of {in_val}, but val has: they cannot be learnt, "
                "so their IoU in val will be 0"
            )
        if elsewhere:
            warnings.append(f"train has no photograph of {elsewhere}: they cannot be learnt")
        if numbers:
            warnings.append(
                f"train has fewer than {FEW} photographs of {numbers}: too few to learn from"
            )
    if train and not val:
        warnings.append(
            "nothing was scored on val, because the data set has no validation images: "
            "dataset.val_list is empty, and none are drawn"
        )
    if val and val.images and has_masks:
        scored = sum(entry.mask is not None for entry in val.images)
        if not scored:
            warnings.append(f"none of the {len(val.images)} images of val has a mask: no scores")
        elif scored < FEWEST_SCORED:
            warnings.append(
                f"val has {scored} images with a mask: with fewer than {FEWEST_SCORED}, the 95 % "
                "intervals of its scores are too narrow by about a tenth or more"
            )
    return warnings


def check_saliency(maps: Mapping[str, Any], negatives: Collection[str] = ()) -> list[str]:
    """Return warnings of saliency maps that do not show where the objects are.

    `maps` is the content of their manifest. Maps of the names `negatives` have no object to show.
    """
    warnings = []
    constant = [name for name in maps["constant"] if name not in negatives]
    missed, compared = maps["without_overlap"], maps["compared"]
    if constant:
        warnings.append(
            f"{len(constant)} of {maps['count']} saliency maps have the same value everywhere, so "
            f"they show no object: {listing(constant)}"
        )
    if len(missed) > MOST_MISSES * compared:
        warnings.append(
            f"{len(missed)} of {compared} saliency maps are salient nowhere on the mask's "
            f"objects, {listing(missed)}: check that they are of these photographs"
        )
    background, objects = maps["salient_background"], maps["salient_objects"]
    if background and objects <= background:
        warnings.append(
            f"the saliency maps mark {objects:.0%} of the objects' pixels and {background:.0%} of "
            "the background: check that they are not inverted (255 = salient)"
        )
    return warnings
