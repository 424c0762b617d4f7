"""The front page of the report: the headline, what got worse, pictures, the workflow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image

from i2crc.artifacts.manifest import read_manifests
from i2crc.data.images import read_label, read_photo
from i2crc.data.index import Entry, Index
from i2crc.report.contact_sheet import MAPS, Scores, choose, legend, map_tile
from i2crc.report.findings import MIOU, PAGES, WORDS, Finding, findings, headline, is_judged
from i2crc.report.flow import Step, flow_picture
from i2crc.report.pages import render
from i2crc.report.tiles import data_uri, overlay_tile, photo_tile

SIDE = 420  # longer side of an overlay, in pixels
THUMBNAIL = 200  # of a picture of the workflow: twice its size on a screen
ONE, TWO = "round one", "round two"
# Column of a contact sheet -> name and maker in the picture of the workflow, round, score.
TRAIN_STEPS = {
    "saliency": ("saliency map", "what stands out", "given", None),
    "cam": ("attention (CAM)", "classifier", ONE, "cam"),
    "initial label": ("initial label", "CAM and saliency", ONE, "initial_labels"),
    "prediction": ("prediction", "first network", ONE, "train_aug_prediction"),
    "CRF": ("with CRF", "dense CRF", ONE, "train_aug_crf"),
    "refined label": ("refined label", "CRF, initial label", TWO, "refined_labels"),
}
VAL_STEP = ("final prediction", "second network, CRF", TWO, "val_crf")
FULL_STEP = ("final prediction", "network, CRF", "trained on masks", "val_crf")


@dataclass(frozen=True)
class Shown:
    """What the front page shows of a split: photographs, their scores, column -> manifests."""

    index: Index
    scores: Scores
    columns: Mapping[str, Sequence[Path]]

    def one(self) -> Entry | None:
        """Return the photograph that stands for the split: the median, or one with classes."""
        return next(iter(choose(self.some(), self.scores, "median", 1)), None)

    def some(self) -> list[Entry]:
        """Return the photographs with classes, or all if none has any."""
        return [entry for entry in self.index.images if entry.classes] or self.index.images


def front_page(
    results: Path,
    date: str,
    scores: Mapping[str, dict[str, Any]],
    histories: Mapping[str, np.ndarray],
    splits: Mapping[str, Shown],
    leaks: Sequence[str],
    warnings: Sequence[str],
    fallen: Sequence[Finding],
) -> Markup:
    """Return the front page as an HTML fragment.

    scores: stage -> content of its score file, in the order of the stages. histories: training ->
    (N,) loss. leaks: messages that stand in a banner. warnings: of preflight. fallen: of
    `fallen_stages`.
    """
    found = [Finding(text, "scores/table.html") for text in warnings]
    one_round = "initial" in histories and "final" not in histories
    steps = flow_steps(scores, splits, one_round)
    widths = {"wide": 8, "narrow": 4} if steps else {}
    return render(
        "front_page.html",
        experiment=results.name,
        results=results,
        trained_on=splits["train"].index if "train" in splits else None,
        date=date,
        leaks=leaks,
        headline=headline(scores),
        bars=bars(scores),
        pages=PAGES,
        findings=[*findings(scores, histories, fallen), *found],
        judged=bool(histories) and all(map(is_judged, histories.values())),
        splits=splits,
        overlays=overlays(splits),
        flows=[(name, flow_picture(steps, columns)) for name, columns in widths.items()],
    )


def bars(scores: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return name, split, mIoU and interval of each scored stage."""
    return [
        {
            "name": WORDS[stage],
            "split": score["split"],
            "miou": score[MIOU],
            "interval": score[f"{MIOU}_interval"],
        }
        for stage, score in scores.items()
        if score[MIOU] is not None
    ]


def overlays(splits: Mapping[str, Shown]) -> list[dict[str, Any]]:
    """Return four photographs with the last predictions on them: two good, a median, a bad one.

    They are from val, or, without it, from train; without scores they are a sample.
    """
    split = next((name for name in ("val", "train") if name in splits), None)
    if split is None:
        return []
    shown = splits[split]
    files = read_manifests(shown.columns["CRF"])
    kinds = {"good": ("best", 2), "median": ("median", 1), "bad": ("worst", 1)}
    if not shown.scores:
        kinds = {"sample": ("sample", 4)}
    found: dict[str, tuple[str, Entry]] = {}
    for word, (kind, count) in kinds.items():
        for entry in choose(shown.some(), shown.scores, kind, count):
            found.setdefault(entry.id, (word, entry))
    return [
        {
            "id": entry.id,
            "kind": word,
            "split": split,
            "miou": shown.scores[entry.id][0] if entry.id in shown.scores else None,
            **layers(entry, files[f"{entry.id}.png"][0], shown.index.classes),
        }
        for word, entry in found.values()
    ]


def layers(entry: Entry, file: Path, classes: Sequence[str]) -> dict[str, Any]:
    """Return the photograph, the photograph under its label, and the classes of the label."""
    photo = np.asarray(read_photo(Path(entry.image)))
    label = read_label(file)
    mixed = overlay_tile(photo, label, SIDE)
    return {
        "size": mixed.size,
        "photo": data_uri(photo_tile(photo, SIDE)),
        "overlay": data_uri(mixed),
        "legend": legend(classes, np.unique(label)),
    }


def flow_steps(
    scores: Mapping[str, dict[str, Any]], splits: Mapping[str, Shown], one_round: bool
) -> list[Step]:
    """Return the steps of the workflow with the pictures of a photograph of each split.

    With `one_round`, the network that predicts train is also the final one.
    """

    def step(name: str, made_by: str, part: str, stage: str | None, picture: str) -> Step:
        score = scores[stage][MIOU] if stage and stage in scores else None
        if one_round and part == TWO:
            made_by, part = made_by.replace("second", "first"), ONE
        return Step(name, made_by, picture, part, score)

    steps = []
    for split, shown in splits.items():
        entry = shown.one()
        if entry is None:
            continue
        photo = np.asarray(read_photo(Path(entry.image)))
        if split == "train" or "train" not in splits:
            names = ", ".join(shown.index.classes[number] for number in entry.classes or [])
            steps.append(Step("photograph", names, small(photo_tile(photo, THUMBNAIL)), "given"))
        final = VAL_STEP if "train" in splits else FULL_STEP
        wanted = TRAIN_STEPS if split == "train" else {"CRF": final}
        for column, words in wanted.items():
            files = read_manifests(shown.columns[column])
            if column in MAPS:
                tile = map_tile(column, files, entry, photo, THUMBNAIL)
            else:
                label = read_label(files[f"{entry.id}.png"][0])
                tile = overlay_tile(photo, label, THUMBNAIL)
            steps.append(step(*words, small(tile)))
    return steps


def small(tile: Image.Image | None) -> str:
    """Return the address of a tile, "" for none."""
    return data_uri(tile) if tile else ""
