"""The model card: what a trained network is, in Markdown with the front matter of Hugging Face."""

import re
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from i2crc.inference.model_file import ModelCard, ModelFacts
from i2crc.report.pages import TEMPLATES, Cell, markdown_table, text
from i2crc.runtime.errors import InputError, counted

# What Markdown or HTML would read as something else than text.
SPECIAL = re.compile(r"[\\`*\[\]<>|&~$#]|(?<![^\W_])_|_(?![^\W_])")
TRUSTED = "{trusted_masks} of the {training_images} training labels are masks drawn by hand"
CHOSEN = "The weights are those that did best on {dev_masks} further photographs with masks"
DATASET = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)  # a name as Hugging Face wants it


def model_card(card: ModelCard, trained: str = "") -> str:
    """Return the text of the model card; `trained` is the day of the training.

    Everything else is in the model file. Raise InputError if an earlier version made the file.
    """
    facts = card.facts
    if facts is None:
        raise InputError("an earlier version made the model file; make it again with this version")
    scores = facts.scores.values()
    scored = {name for one in scores for name, iou in one.iou.items() if iou is not None}
    return ENVIRONMENT.get_template("MODEL_CARD.md").render(
        card=card,
        facts=facts,
        front=Markup(
            yaml.safe_dump(front_matter(card, facts), sort_keys=False, allow_unicode=True)
        ),
        full=card.settings.supervision == "full",
        classes=_classes(card, facts),
        data=_data(card, facts),
        scores=_scores(facts),
        size=_size(card.max_side),
        unscored=", ".join(name for name in card.classes if scored and name not in scored),
        origin=_origin(card, facts, trained),
    )


def front_matter(card: ModelCard, facts: ModelFacts) -> dict[str, Any]:
    """Return the metadata that Hugging Face reads from a model card."""
    weak = [] if card.settings.supervision == "full" else ["weakly-supervised"]
    found: dict[str, Any] = {
        "license": "unknown",
        "library_name": "i2crc",
        "pipeline_tag": "image-segmentation",
        "tags": ["image-segmentation", "semantic-segmentation", *weak],
    }
    if DATASET.fullmatch(facts.dataset):
        found["datasets"] = [facts.dataset]
    if not facts.scores:
        return found
    name = facts.dataset or f"photographs of {facts.experiment}"
    results = []
    for stage, score in facts.scores.items():
        metrics = [{"type": "mean_iou", "name": f"mIoU ({stage})", "value": score.miou}]
        metrics += [
            {"type": "iou", "name": f"IoU of {label} ({stage})", "value": iou}
            for label, iou in score.iou.items()
            if iou is not None
        ]
        dataset = {"type": name, "name": name, "split": score.split}
        task = {"type": "image-segmentation", "name": "Semantic segmentation"}
        results.append({"task": task, "dataset": dataset, "metrics": metrics})
    index = [{"name": facts.experiment, "results": results}]
    return {**found, "metrics": ["mean_iou"], "model-index": index}


def _classes(card: ModelCard, facts: ModelFacts) -> Markup:
    """Return the table of labels, with the colour and the scores of each class."""
    names = ["background", *card.classes]
    header = ["Label", "Class", "Colour", "Training photographs"]
    header += [f"IoU, {stage}" for stage in facts.scores]
    rows = []
    for number, (name, color) in enumerate(zip(names, card.colors, strict=True)):
        count = facts.of_class.get(name) if number else None
        row: list[Cell] = [number, name, "#{:02x}{:02x}{:02x}".format(*color), count]
        rows.append([*row, *(score.iou.get(name) for score in facts.scores.values())])
    return _table(header, rows)


def _data(card: ModelCard, facts: ModelFacts) -> str:
    """Return what is known of the photographs, in sentences."""
    name = f"Data set {facts.dataset}" if facts.dataset else "A data set without a name"
    counts = [f"{counted(n, 'photograph')} of {split}" for split, n in facts.photographs.items()]
    sentences = [f"{name} (format {facts.format}): {', '.join(counts)}"]
    if card.supervision.trusted_masks:
        sentences.append(TRUSTED.format(**card.supervision.model_dump()))
    if card.supervision.dev_masks:
        sentences.append(CHOSEN.format(**card.supervision.model_dump()))
    if facts.corrected:
        what = counted(facts.corrected, "training photograph")
        sentences.append(f"{what} excluded or relabelled by hand (dataset.corrections)")
    return ". ".join(sentences) + "."


def _scores(facts: ModelFacts) -> Markup:
    """Return the table of the scores; nothing without scores."""
    rows: list[list[Cell]] = []
    for stage, score in facts.scores.items():
        limits = "{:.3f} to {:.3f}".format(*score.miou_interval) if score.miou_interval else None
        rows.append([stage, score.split, score.images, score.miou, limits])
    header = ["Stage", "Split", "Images", "mIoU", "95 % interval"]
    return _table(header, rows) if rows else Markup()


def _size(max_side: int) -> str:
    """Return a sentence on the working size."""
    if not max_side:
        return "Photographs keep their size."
    return f"Larger photographs are made smaller first, to {max_side} pixels on the longer side."


def _origin(card: ModelCard, facts: ModelFacts, trained: str) -> dict[str, str]:
    """Return what made the network, by name; what is not known is left out."""
    made = card.provenance
    git = made.get("git") or {}
    versions = made.get("versions") or {}
    found = {
        "Trained on": trained,
        "Fingerprint of the training": facts.fingerprint,
        "Revision of I2CRC": git.get("revision", "") + (" with changes" * bool(git.get("changed"))),
        "Device": made.get("device", ""),
        "Versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }
    return {name: value for name, value in found.items() if value}


def _table(header: list[str], rows: list[list[Cell]]) -> Markup:
    escaped = [[escape(text(value)) for value in row] for row in rows]
    return Markup(markdown_table([escape(name) for name in header], escaped))


def escape(value: Any) -> str:
    """Return a value as Markdown that shows it as plain text, on one line; Markup is kept."""
    if isinstance(value, Markup):
        return value
    return SPECIAL.sub(r"\\\g<0>", " ".join(str(value).split()))


# Every value is escaped.
ENVIRONMENT = Environment(
    loader=TEMPLATES.loader,
    undefined=StrictUndefined,
    finalize=escape,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
