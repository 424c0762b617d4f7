"""Checks of preflight on the meaning of the data: masks, classes, splits and saliency maps."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from i2crc.data.index import Entry, Index
from i2crc.runtime.errors import Problem, counted, listing

# Photographs of a class that a training should have at least.
FEW = 5
# Scored images below which a warning is given. The percentile bootstrap of a mean over n images is
# too narrow by 1.96 / t(n - 1) x sqrt((n - 1) / n): to 0.63 for 5, 0.82 for 10, 0.91 for 20 images.
FEWEST_SCORED = 20
# Share of saliency maps that miss the object. U2-Net-p misses it in 5 % of 311 VOC photographs.
MOST_MISSES = 0.25
# Salient share of the border of photographs. It is 8 % of 472 VOC photographs (centre: 48 %).
MOST_BORDER = 0.5
MARK = "give the object another value than 0 in them"


def check_masks(index: Index, folder: Path) -> tuple[list[Problem], list[str]]:
    """Return the problems and the warnings of masks that do not fit their photograph's classes.

    `folder` holds the user's masks. It is a problem if masks have values beyond the classes, if no
    mask has background, if most masks of the split do not fit, or if all masks hold nothing but 0,
    1 and 255 where a photograph has another class than the first. The mask of a photograph without
    a class has to be background.
    """
    masked = [entry for entry in index.images if entry.mask_values is not None]
    if masked and not any(0 in (entry.mask_values or ()) for entry in masked):
        remedy = "save the background as 0; 255 is for pixels that are not scored"
        found = f"no mask of {index.split} has the value 0, so that no background is scored"
        return [Problem(str(folder), found, remedy)], []
    classes, hint = index.classes, _binary_hint(masked, index.classes)
    known = [e for e in masked if not classes or all(c < len(classes) for c in e.mask_classes)]
    beyond = len(known) < len(masked)
    problems = [_beyond(masked, index, folder, hint)] if beyond else []
    masked = known
    labelled = [entry for entry in masked if entry.classes is not None]
    wrong = [entry for entry in labelled if not _fits(entry)]
    if not beyond and not any(entry.mask_classes for entry in masked):
        wrong = [e for e in masked if e.classes != [] or e.mask_values != [0]]
    holds_first_alone = all(set(entry.mask_values or ()) <= {0, 1, 255} for entry in masked)
    if masked and not wrong and not labelled and holds_first_alone and len(classes) > 1:
        text = f"{folder}: all masks of {index.split} show {classes[0]} alone, as value 1; "
        return problems, [f"{text}{hint}ignore this if it is right"]
    is_binary = holds_first_alone and any(e.mask_classes for e in wrong if e.classes)
    if wrong and (is_binary or 2 * len(wrong) > len(labelled)):
        found = f"{_unfitting(wrong, masked, index)}; {_example(wrong[0], classes)}"
        remedy = f"{hint}save class number + 1 as the values of a mask"
        remedy = MARK if _is_converted(wrong[0], folder) else remedy
        return [*problems, Problem(str(folder), found, remedy)], []
    warnings = [_class_warning(c, labelled, index, folder) for c in range(len(classes))]
    named = [c for c, warning in enumerate(warnings) if warning]
    rest = [entry for entry in wrong if not set(entry.classes or ()) & set(named)]
    if rest:
        warnings.append(
            f"{folder}: {_unfitting(rest, masked, index)} ({_names(rest)}); "
            f"{_example(rest[0], classes)}; correct them or the list, else they are scored as they "
            "are"
        )
    return problems, [warning for warning in warnings if warning]


def _unfitting(wrong: Sequence[Entry], masked: Sequence[Entry], index: Index) -> str:
    masks = f"{len(wrong)} of {len(masked)} masks of {index.split}"
    return f"{masks} {'does' if len(wrong) == 1 else 'do'} not fit their photograph's classes"


def _class_warning(c: int, labelled: Sequence[Entry], index: Index, folder: Path) -> str:
    """Return a warning if no mask of the photographs of class `c` shows it, else nothing."""
    shown = [entry for entry in labelled if c in (entry.classes or ())]
    if len(shown) < 2 or any(c in entry.mask_classes for entry in shown):
        return ""
    name = index.classes[c]
    values = listing([*map(str, sorted({v for e in shown for v in e.mask_values or ()}))])
    return (
        f"{folder}: no mask of the {len(shown)} photographs of {name} in {index.split} has its "
        f"value, {c + 1}; they ({_names(shown)}) hold {values}; "
        + (MARK if _is_converted(shown[0], folder) else f"save {name} as {c + 1} in them")
    )


def _is_converted(entry: Entry, folder: Path) -> bool:
    """Return whether a mask was made from a binary one, which can only lack its object."""
    return folder not in Path(entry.mask or "").parents


def _binary_hint(masked: Sequence[Entry], classes: Sequence[str]) -> str:
    """Return the setting for masks of one object each, the start of a remedy, if it may fit."""
    shown = [entry for entry in masked if set(entry.mask_values or ()) - {0}]
    single = all(len({*(e.mask_values or ())} - {0}) == 1 for e in shown)
    if not shown or not single or any(len(entry.classes or [0]) > 1 for entry in shown):
        return ""
    is_named = len(classes) == 1 or all(entry.classes for entry in shown)
    name_it = "" if is_named else "name it in the list and "
    condition = "if every value but 0 means its photograph's one class"
    return f"{condition}, {name_it}set dataset.binary_masks: true; else "


def _beyond(masked: Sequence[Entry], index: Index, folder: Path, hint: str) -> Problem:
    """Return the problem of masks with values beyond the classes."""
    known = len(index.classes)
    beyond = [entry for entry in masked if any(c >= known for c in entry.mask_classes)]
    values = sorted({c + 1 for entry in beyond for c in entry.mask_classes if c >= known})
    problem = (
        f"value {listing([*map(str, values)])} in {len(beyond)} of {len(masked)} masks of "
        f"{index.split} ({_names(beyond)}), but the data set has "
        f"{counted(known, 'class', 'classes')}"
    )
    numbers = "1 for the class" if known == 1 else f"1 to {known} for classes"
    remedy = f"{hint}use 0 for background, {numbers}, 255 for ignored pixels"
    return Problem(str(folder), problem, remedy)


def _names(entries: Sequence[Entry]) -> str:
    """Return the names of masks, the first three if they are more."""
    return listing([Path(entry.mask or "").name for entry in entries], 3)


def _fits(entry: Entry) -> bool:
    """Return whether a mask shows one of its photograph's classes; no class, if it has none."""
    shown = set(entry.mask_classes)
    return bool(shown & set(entry.classes)) if entry.classes else not shown


def _example(entry: Entry, classes: Sequence[str]) -> str:
    """Return what a mask holds, and what its photograph's classes would be."""
    values = listing([*map(str, entry.mask_values or ())])
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
                f"train has no photograph of {in_val}, but val has: what is not learnt has an IoU "
                "of 0 in val"
            )
        if elsewhere:
            warnings.append(f"train has no photograph of {elsewhere}, so it learns nothing of it")
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
            warnings.append("no image of val has a mask: no scores")
        elif scored < FEWEST_SCORED:
            warnings.append(
                f"val has {counted(scored, 'image')} with a mask: with fewer than {FEWEST_SCORED}, "
                "the 95 % intervals of its scores are too narrow by about a tenth or more"
            )
    return warnings


def check_dev(indexes: Mapping[str, Index]) -> list[Problem]:
    """Return the problems of photographs of dev that have no mask or are in train or val, too.

    `indexes` maps the names of the splits to their indexes.
    """
    dev = indexes["dev"].images if "dev" in indexes else []
    add = "add its mask (dataset.masks), or take it out of dataset.dev_list"
    problems = [
        Problem(entry.photograph.image, "in dataset.dev_list, but without a mask", add)
        for entry in dev
        if not entry.mask
    ]
    for split in ("train", "val"):
        others = indexes[split].images if split in indexes else []
        by_id = {entry.id: entry for entry in others}
        by_content = {entry.photograph.sha256: entry for entry in others}
        for entry in dev:
            twin = by_id.get(entry.id) or by_content.get(entry.photograph.sha256)
            if twin:
                name = "" if twin.id == entry.id else f" as {twin.photograph.image}"
                problem = f"in dataset.dev_list, and in {split}{name}, too"
                remedy = "take it out of one of the two: photographs of dev only choose the weights"
                problems.append(Problem(entry.photograph.image, problem, remedy))
    return problems


def check_saliency(
    maps: Mapping[str, Any], negatives: Collection[str] = ()
) -> tuple[list[Problem], list[str]]:
    """Return the problem and the warnings of saliency maps that do not show where the objects are.

    `maps` is the content of their manifest. Maps of the names `negatives` have no object to show.
    """
    if maps["maximum"] == 1:
        problem = "no saliency map has a value above 1, so that nothing is salient"
        remedy = "save the maps with 255 in place of 1 (0 = background, 255 = salient)"
        return [Problem(maps["source"], problem, remedy)], []
    warnings = []
    constant = [name for name in maps["constant"] if name not in negatives]
    missed, compared = maps["without_overlap"], maps["compared"]
    if constant:
        warnings.append(
            f"{len(constant)} of {maps['count']} saliency maps have the same value everywhere, so "
            f"they show no object: {listing(constant)}"
        )
    background, objects = maps["salient_background"], maps["salient_objects"]
    border, centre = maps["salient_border"], maps["salient_centre"]
    if background and objects <= background:
        warnings.append(
            f"the saliency maps mark {objects:.0%} of the objects in the masks and "
            f"{background:.0%} of the background: either the maps are inverted (255 = salient), or "
            "objects and background are swapped in the masks; objects are rare at the border of "
            f"photographs, where the maps mark {border:.0%} of the pixels and the masks "
            f"{maps['masked_border']:.0%}"
        )
    elif len(missed) > MOST_MISSES * compared:
        warnings.append(
            f"{len(missed)} of {compared} saliency maps are salient nowhere on the mask's "
            f"objects, {listing(missed)}: check that they are of these photographs"
        )
    if not compared and border > MOST_BORDER and border > centre:
        warnings.append(
            f"the saliency maps mark {border:.0%} of the border of the photographs and "
            f"{centre:.0%} of their centre: check that they are not inverted (255 = salient)"
        )
    return [], warnings
