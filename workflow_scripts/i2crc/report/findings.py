"""What a reader has to be told of a finished run: its headline, and what got worse on the way."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from i2crc.runtime.errors import counted

# Score -> what it is the score of.
WORDS = {
    "cam": "attention maps (CAM)",
    "initial_labels": "initial labels",
    "train_aug_prediction": "predictions of round one",
    "train_aug_crf": "predictions of round one with CRF",
    "refined_labels": "refined labels",
    "val_prediction": "final predictions",
    "val_crf": "final predictions with CRF",
}
NETWORKS = {"classifier": "classifier", "initial": "first network", "final": "final network"}
# What a stage is made from, and the stage.
STEPS = (
    ("cam", "initial_labels"),
    ("initial_labels", "train_aug_prediction"),
    ("train_aug_prediction", "train_aug_crf"),
    ("train_aug_crf", "refined_labels"),
    ("initial_labels", "refined_labels"),
    ("val_prediction", "val_crf"),
)
# Page of the report, below the results -> what a link to it says.
PAGES = {
    "scores/table.html": "table of all stages",
    "report/iou_per_class.html": "IoU of each class",
    "report/confusion.html": "confusion matrix",
    "report/sweep_curves.html": "threshold sweeps",
    "report/sheets/train_worst.html": "worst images of train",
    "report/sheets/val_worst.html": "worst images of val",
    **{f"report/training_{name}.html": f"curves of the {word}" for name, word in NETWORKS.items()},
}
MIOU, IOU = "miou_255_as_background", "iou_255_as_background"
DROP = 0.05  # of the IoU of a class, worth a sentence
LOW_COVERAGE = 0.5  # below it, more pixels of the labels are ignored than have a class
PARTS = 5  # a training is judged by the mean loss of each fifth
STILL_FALLS = 0.1  # share of the whole fall of the loss that falls in the last fifth
MEANING = (
    "The IoU of a class is the number of pixels that both prediction and ground truth give to it, "
    "divided by the number that either does; the mean over the {classes}, background included, is "
    "1 if all is right. The interval says how much the figure depends on the choice of the "
    "photographs; another training may differ by more."
)
UNSCORED = (
    "Nothing was scored, because there is no ground-truth mask to score with. Judge the network by "
    "what it makes of photographs."
)
Scores = Mapping[str, dict[str, Any]]  # stage -> content of its score file


@dataclass(frozen=True)
class Finding:
    """A sentence, and the page, one of PAGES, where to look."""

    text: str
    page: str


def headline_stage(scores: Scores) -> str | None:
    """Return the stage whose mIoU is the headline: the last on val, else the last; None if none."""
    scored = [name for name, score in scores.items() if score[MIOU] is not None]
    return next(reversed(scored), None)


def headline(scores: Scores) -> list[str]:
    """Return the sentences under the title: the headline figure, and what it means."""
    stage = headline_stage(scores)
    if stage is None:
        return [UNSCORED]
    score = scores[stage]
    limits = score[f"{MIOU}_interval"]
    known = f" (95 % interval {limits[0]:.3f} to {limits[1]:.3f})" if limits else ""
    figure = f"a mean IoU of {score[MIOU]:.3f}{known}"
    classes = counted(sum(v is not None for v in score[IOU].values()), "class", "classes")
    meaning = MEANING.format(classes=classes)
    photographs = counted(score["images"], "photograph")
    if score["split"] == "val":
        bare = scores.get("val_prediction", score)
        without = f"; without the CRF it is {bare[MIOU]:.3f}" if bare is not score else ""
        network = "the final network" + (" with the dense CRF" if bare is not score else "")
        return [f"On {photographs} of val, {network} reaches {figure}{without}.", meaning]
    return [
        "The final network was not scored: there is no photograph of val with a mask.",
        f"The {WORDS[stage]} of {photographs} of train have {figure}; {score['coverage']:.0%} of "
        "their pixels have a class. The figure is that of the labels, not of the network.",
        meaning,
    ]  # fmt: skip


def findings(scores: Scores, histories: Mapping[str, np.ndarray]) -> list[Finding]:
    """Return what got worse or looks wrong, the most important first; none if all is well.

    histories: name of a training -> (N,) loss of its iterations.
    """
    return [
        *fallen_stages(scores),
        *missed_classes(scores),
        *fallen_class(scores),
        *low_coverage(scores),
        *unfinished(histories),
    ]


def scored_steps(scores: Scores) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return the scores before and after each step that has both."""
    found = [(scores.get(before), scores.get(after)) for before, after in STEPS]
    return [(a, b) for a, b in found if a and b and a[MIOU] is not None and b[MIOU] is not None]


def fallen_stages(scores: Scores) -> list[Finding]:
    """Return the stages with a lower mIoU, as printed, than what they are made from."""
    return [
        Finding(
            f"The mIoU falls from {before[MIOU]:.3f} ({WORDS[before['stage']]}) to "
            f"{after[MIOU]:.3f} ({WORDS[after['stage']]}).",
            worst_images(after["split"]),
        )
        for before, after in scored_steps(scores)
        if round(after[MIOU], 3) < round(before[MIOU], 3)
    ]  # fmt: skip


def missed_classes(scores: Scores) -> list[Finding]:
    """Return the classes that the last scored stage never predicts, and those with an IoU of 0."""
    stage = headline_stage(scores)
    if stage is None:
        return []
    score = scores[stage]
    predicted = np.sum(score["confusion"], axis=0)
    missed = [number for number, value in enumerate(score[IOU].values()) if value == 0]
    names = list(score[IOU])
    page = "report/confusion.html" if stage == "val_crf" else "report/iou_per_class.html"
    found = {
        "never show": [names[n] for n in missed if predicted[n] == 0],
        "show in wrong places only": [names[n] for n in missed if predicted[n] > 0],
    }
    return [
        Finding(f"The {WORDS[stage]} {how}: {', '.join(classes)}.", page)
        for how, classes in found.items()
        if classes
    ]


def fallen_class(scores: Scores) -> list[Finding]:
    """Return the class whose IoU falls most in one step, if it falls by `DROP`."""
    drops = [
        (before[IOU][name] - value, name, before, after)
        for before, after in scored_steps(scores)
        for name, value in after[IOU].items()
        if value is not None and before[IOU].get(name) is not None
    ]
    drop, name, before, after = max(drops, key=lambda found: found[0], default=(0.0, "", {}, {}))
    if drop < DROP:
        return []
    text = (
        f"The IoU of {name} falls most: from {before[IOU][name]:.3f} ({WORDS[before['stage']]}) to "
        f"{after[IOU][name]:.3f} ({WORDS[after['stage']]})."
    )
    return [Finding(text, worst_images(after["split"]))]


def low_coverage(scores: Scores) -> list[Finding]:
    """Return the labels that ignore most of their pixels."""
    return [
        Finding(
            f"Only {scores[stage]['coverage']:.0%} of the pixels of the {WORDS[stage]} have a "
            "class; training ignores the others.",
            "report/sweep_curves.html",
        )
        for stage in ("initial_labels", "refined_labels")
        if stage in scores
        and scores[stage]["coverage"] is not None
        and scores[stage]["coverage"] < LOW_COVERAGE
    ]  # fmt: skip


def unfinished(histories: Mapping[str, np.ndarray]) -> list[Finding]:
    """Return the trainings whose loss still falls at their end."""
    return [
        Finding(
            f"The loss of the {NETWORKS[name]} still falls at the end of its training; more "
            "iterations may help.",
            f"report/training_{name}.html",
        )
        for name, losses in histories.items()
        if still_falls(losses)
    ]


def is_judged(losses: np.ndarray) -> bool:
    """Return whether (N,) losses are enough for means of their fifths."""
    return int(np.isfinite(losses).sum()) >= 10 * PARTS


def still_falls(losses: np.ndarray) -> bool:
    """Return whether the last fifth of (N,) losses has a good part of the whole fall.

    Too few losses are not judged, so the answer is no.
    """
    if not is_judged(losses):
        return False
    means = [part.mean() for part in np.array_split(losses[np.isfinite(losses)], PARTS)]
    return bool(means[-2] - means[-1] > STILL_FALLS * (means[0] - means[-1]) > 0)


def worst_images(split: str) -> str:
    """Return the page of the worst photographs of a split."""
    return f"report/sheets/{split}_worst.html"
