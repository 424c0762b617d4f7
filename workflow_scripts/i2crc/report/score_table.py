"""The table of the scores of all stages, as Markdown and as HTML."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from i2crc.artifacts.schemas import Leaks, Warnings, read_checked
from i2crc.models.weight_files import read_metadata
from i2crc.report.findings import Finding
from i2crc.report.pages import Cell, markdown_table, render
from i2crc.runtime.errors import counted

COLUMNS = {
    "stage": "Stage",
    "split": "Split",
    "images": "Images",
    "miou_255_as_background": "mIoU, 255 as background",
    "miou_255_as_background_interval": "95 % interval",
    "coverage": "Coverage",
    "miou": "mIoU, 255 left out",
    "miou_255_as_wrong": "mIoU, 255 as wrong",
    "boundary_iou": "Boundary IoU",
    "pixel_accuracy": "Pixel accuracy",
}
TRUSTED = (
    "{trusted_masks} of {training_images} training labels are masks drawn by hand "
    "(dataset.trusted_masks): more than weak supervision, and they raise the scores of the labels"
)
CHOSEN = (
    "of each segmentation training, the weights with the highest mIoU on {dev_masks} photographs "
    "with masks are kept (dataset.dev_list): more than weak supervision"
)
CEILING = "trained on ground-truth masks: a ceiling, not weak supervision"
READING = (
    "A pixel predicted 255 has no class. The first mIoU counts it as background. The second leaves "
    "it out, so a label that ignores every difficult pixel scores high: do not rank labels by it. "
    "The third counts it as a miss of the true class. Networks predict no 255, so the three are "
    "equal for them: the mIoU of the paper. Coverage is the share of the pixels that have a "
    "predicted class. The interval shows how much the first mIoU depends on the choice of the "
    "images (bootstrap over the images). It does not include the variation between trainings. "
    "Boundary IoU compares only narrow bands along the contours of the objects."
)

UNSCORED = "No stage is scored: none of its photographs has a mask (dataset.masks)."


def row(result: dict[str, Any]) -> list[Cell]:
    """Return the cells of one stage."""
    interval = result["miou_255_as_background_interval"]
    limits = "{:.3f} to {:.3f}".format(*interval) if interval else None
    return [limits if key.endswith("_interval") else result[key] for key in COLUMNS]


def warnings(leaks: Path | None, weights: Sequence[Path], preflight: Path | None) -> list[str]:
    """Return each sentence above the table once.

    They are the findings of ground truth in the training (of check_leaks and the weights), and the
    warnings of preflight.
    """
    found = read_checked(leaks, Leaks)["findings"] if leaks else []
    for metadata in map(read_metadata, weights):
        found = [*found, *metadata.get("leaks", [])]
        if metadata["settings"].get("supervision") == "full":
            found.append(CEILING)
        supervision = metadata.get("supervision", {})
        if supervision.get("trusted_masks"):
            found.append(TRUSTED.format(**supervision))
        if supervision.get("dev_masks"):
            found.append(CHOSEN.format(**supervision))
    found += read_checked(preflight, Warnings)["warnings"] if preflight else []
    return list(dict.fromkeys(found))


def notes(
    results: Sequence[dict[str, Any]], corrected: str = "", fallen: Sequence[Finding] = ()
) -> list[str]:
    """Return the stages that have `fallen`, how to read the table, and notes on the images.

    These say how many images were not scored, and how many `corrected`.
    """
    training = [f"Training data: {corrected}."] if corrected else []
    if not any(one["images"] for one in results):
        return [UNSCORED, *training]
    left_out = [
        f"{one['stage']}: {counted(len(one['images_without_mask']), 'image')} without a mask, "
        "not scored."
        for one in results
        if one["images_without_mask"]
    ]
    worse = [f"{one.text} See {one.page} (target report)." for one in fallen]
    return [*worse, READING, *left_out, *training]


def score_pages(
    results: Sequence[dict[str, Any]],
    messages: Sequence[str],
    corrected: str = "",
    fallen: Sequence[Finding] = (),
) -> list[str]:
    """Return the table as Markdown and as an HTML page; if nothing is scored, a sentence.

    results: contents of score files, in the order of the rows. messages: warnings above the table.
    corrected: how many training photographs were. fallen: of `fallen_stages`.
    """
    below = notes(results, corrected, fallen)
    header, is_scored = list(COLUMNS.values()), any(result["images"] for result in results)
    rows = [row(result) for result in results] if is_scored else []
    bold = [f"**{message}**" for message in messages]
    table = [markdown_table(header, rows).rstrip()] if rows else []
    markdown = [*bold, *table, *below]
    page = render("scores.html", header=header, rows=rows, warnings=messages, notes=below)
    return ["\n\n".join(markdown) + "\n", page]
