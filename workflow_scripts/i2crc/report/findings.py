"""What a reader has to be told of a finished run: its headline, and what got worse on the way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from i2crc.evaluation.comparison import paired_difference
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
SWEEP_PAGE = "report/sweep_curves.html"
TRAIN_PAGE, VAL_PAGE = "report/sheets/train_worst.html", "report/sheets/val_worst.html"
CRF = "crf.bilateral_weight (lower: the CRF changes less), crf.bilateral_rgb and crf.bilateral_xy"
# What a stage is made from, and the stage -> what to look at if it makes things worse: settings,
# and one of PAGES.
STEPS = {
    ("cam", "initial_labels"): (
        "pseudo_labels.attention_threshold, pseudo_labels.conflict_threshold, "
        "pseudo_labels.object_threshold, pseudo_labels.salient_value and the saliency maps",
        SWEEP_PAGE,
    ),
    ("initial_labels", "train_aug_prediction"): (
        "segmentation.iterations and segmentation.optimizer.learning_rate",
        "report/training_initial.html",
    ),
    ("train_aug_prediction", "train_aug_crf"): (CRF, TRAIN_PAGE),
    ("train_aug_crf", "refined_labels"): (
        "refinement.min_foreground (photographs with less foreground are ignored) and crf.labels",
        TRAIN_PAGE,
    ),
    ("initial_labels", "refined_labels"): (
        "segmentation.iterations and crf.bilateral_weight: they decide what refinement starts from",
        TRAIN_PAGE,
    ),
    ("val_prediction", "val_crf"): (
        f"{CRF}, or leave the CRF aside: i2crc segment without --crf",
        VAL_PAGE,
    ),
}
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
    classes = counted(sum(v is not None for v in measured(score).values()), "class", "classes")
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


def measured(score: Mapping[str, Any], key: str = IOU) -> dict[str, float | None]:
    """Return the IoU of each class, None for one that no mask has.

    The score has 0 for such a class if a pixel is predicted as it, which says nothing of how well
    it is found.
    """
    pairs = zip(score[key].items(), score["confusion"], strict=True)
    return {name: value if any(truth) else None for (name, value), truth in pairs}


def findings(
    scores: Scores, histories: Mapping[str, np.ndarray], fallen: Sequence[Finding]
) -> list[Finding]:
    """Return what got worse or looks wrong, the most important first; none if all is well.

    histories: name of a training -> (N,) loss of its iterations. fallen: of `fallen_stages`.
    """
    return [
        *fallen,
        *missed_classes(scores),
        *fallen_class(scores),
        *low_coverage(scores),
        *unfinished(histories),
    ]


def scored_steps(scores: Scores) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return the scores before and after each step that has both."""
    found = [(scores.get(before), scores.get(after)) for before, after in STEPS]
    return [(a, b) for a, b in found if a and b and a[MIOU] is not None and b[MIOU] is not None]


def fallen_stages(scores: Scores, images: Sequence[Path], replicates: int) -> list[Finding]:
    """Return the stages with a lower mIoU than what they are made from.

    The 95 % interval of the difference (paired bootstrap over the images) must exclude 0.
    images: the scores per image, STAGE.images.csv; stages without them are not compared.
    """
    files = {path.name.removesuffix(".images.csv"): path for path in images}
    found = []
    for before, after in scored_steps(scores):
        step = before["stage"], after["stage"]
        if after[MIOU] >= before[MIOU] or not files.keys() >= {*step}:
            continue
        pair, _ = paired_difference([files[name] for name in step], len(after[IOU]), replicates)
        if pair["differs_255_as_background"] == "lower":
            low, high = pair["difference_255_as_background_interval"]
            settings, page = STEPS[step]
            text = (
                f"The mIoU (255 as background) falls from {before[MIOU]:.3f} ({WORDS[step[0]]}) to "
                f"{after[MIOU]:.3f} ({WORDS[step[1]]}), by {before[MIOU] - after[MIOU]:.3f} (95 % "
                f"interval {-high:.3f} to {-low:.3f}): look at {settings}."
            )
            found.append(Finding(text, page))
    return found


def missed_classes(scores: Scores) -> list[Finding]:
    """Return the classes that the last scored stage never predicts, and those with an IoU of 0."""
    stage = headline_stage(scores)
    if stage is None:
        return []
    score = scores[stage]
    predicted = np.sum(score["confusion"], axis=0)
    missed = [number for number, value in enumerate(measured(score).values()) if value == 0]
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
    return [Finding(text, VAL_PAGE if after["split"] == "val" else TRAIN_PAGE)]


def low_coverage(scores: Scores) -> list[Finding]:
    """Return the labels that ignore most of their pixels."""
    return [
        Finding(
            f"Only {scores[stage]['coverage']:.0%} of the pixels of the {WORDS[stage]} have a "
            "class; training ignores the others.",
            SWEEP_PAGE,
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
