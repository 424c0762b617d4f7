"""The table of the scores of all stages, as Markdown and as HTML."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from i2crc.artifacts.schemas import Leaks, read_checked
from i2crc.models.weight_files import read_metadata
from i2crc.report.pages import Cell, markdown_table, render

COLUMNS = {
    "stage": "Stage",
    "split": "Split",
    "images": "Images",
    "miou": "mIoU",
    "miou_interval": "95 % interval",
    "miou_255_as_background": "255 as background",
    "miou_255_as_wrong": "255 as wrong",
    "boundary_iou": "Boundary IoU",
    "coverage": "Coverage",
    "pixel_accuracy": "Pixel accuracy",
}
CEILING = "trained on ground-truth masks: a ceiling, not weak supervision"
READING = (
    "A pixel predicted 255 has no class. mIoU leaves such pixels out. The two columns beside it "
    "count them as background, or as a miss of the true class. Coverage is the share of the pixels "
    "that have a predicted class. The interval shows how much the mIoU depends on the choice of "
    "the images (bootstrap over the images). It does not include the variation between trainings. "
    "Boundary IoU compares only narrow bands along the contours of the objects."
)


def row(result: dict[str, Any]) -> list[Cell]:
    """Return the cells of one stage."""
    span = result["miou_interval"]
    between = None if span is None else f"{span[0]:.4f} to {span[1]:.4f}"
    return [between if key == "miou_interval" else result[key] for key in COLUMNS]


def warnings(leaks: Path | None, weights: Sequence[Path]) -> list[str]:
    """Return each finding of ground truth in the training once: of check_leaks and the weights."""
    found = list(read_checked(leaks, Leaks)["findings"]) if leaks else []
    for path in weights:
        metadata = read_metadata(path)
        found += metadata.get("leaks", [])
        if metadata.get("settings", {}).get("supervision") == "full":
            found.append(CEILING)
    return list(dict.fromkeys(found))


def notes(results: Sequence[dict[str, Any]]) -> list[str]:
    """Return how to read the table, and how many images of a stage were not scored."""
    left_out = [
        f"{result['stage']}: {len(result['images_without_mask'])} images without a mask were left "
        "out."
        for result in results
        if result["images_without_mask"]
    ]
    return [READING, *left_out]


def score_pages(results: Sequence[dict[str, Any]], messages: Sequence[str]) -> tuple[str, str, str]:
    """Return the table as Markdown, as an HTML page, and as an HTML fragment without notes.

    results: contents of score files, in the order of the rows. messages: warnings above the table.
    """
    header, rows = list(COLUMNS.values()), [row(result) for result in results]
    values = {"header": header, "rows": rows, "warnings": messages}
    bold = [f"**{message}**" for message in messages]
    markdown = [*bold, markdown_table(header, rows).rstrip(), *notes(results)]
    return (
        "\n\n".join(markdown) + "\n",
        render("scores.html", title="Scores", notes=notes(results), **values),
        render("score_table.html", **values),
    )
