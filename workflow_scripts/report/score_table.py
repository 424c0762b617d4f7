"""Put the scores of all stages into one table, in the order they are given."""

import argparse
from html import escape
from pathlib import Path
from typing import Any

from i2crc.artifacts.provenance import Origin, write_beside
from i2crc.artifacts.schemas import Leaks, Score, read_checked
from i2crc.models.weight_files import read_metadata
from i2crc.report.pages import Cell, banner, html_table, markdown_table, page
from i2crc.runtime.atomic import write_bytes
from i2crc.runtime.parser import make_parser, run

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
    "A pixel predicted 255 has no class: mIoU leaves such pixels out, the two columns beside it "
    "take them as background, or as a miss of the true class; coverage is the share of pixels "
    "that have a predicted class. The interval says how far the mIoU depends on which images were "
    "drawn (bootstrap over the images); what another training would change is not in it. Boundary "
    "IoU compares narrow bands along the objects' contours alone."
)


def row(result: dict[str, Any]) -> list[Cell]:
    """The cells of one stage."""
    span = result["miou_interval"]
    between = None if span is None else f"{span[0]:.4f} to {span[1]:.4f}"
    return [between if key == "miou_interval" else result[key] for key in COLUMNS]


def warnings(leaks: Path | None, weights: list[Path]) -> list[str]:
    """What a reader must know first: ground truth in the training, each finding once."""
    found = read_checked(leaks, Leaks)["findings"] if leaks else []
    for path in weights:
        metadata = read_metadata(path)
        found += metadata.get("leaks", [])
        if metadata.get("settings", {}).get("supervision") == "full":
            found.append(CEILING)
    return list(dict.fromkeys(found))


def notes(results: list[dict[str, Any]]) -> list[str]:
    """How to read the table, and which stages have images that were not scored."""
    left_out = [
        f"{result['stage']}: {len(result['images_without_mask'])} images without a mask were left "
        "out."
        for result in results
        if result["images_without_mask"]
    ]
    return [READING, *left_out]


def main(arguments: argparse.Namespace) -> None:
    results = [read_checked(path, Score) for path in arguments.scores]
    header, rows = list(COLUMNS.values()), [row(result) for result in results]
    messages = warnings(arguments.leaks, arguments.weights)
    fragment = "\n".join([*map(banner, messages), html_table(header, rows)]) + "\n"
    paragraphs = [f"<p>{escape(text)}</p>" for text in notes(results)]
    bold = [f"**{message}**" for message in messages]
    markdown = [*bold, markdown_table(header, rows).rstrip(), *notes(results)]
    leaks = [arguments.leaks] if arguments.leaks else []
    origin = Origin(Path(__file__), [*arguments.scores, *leaks, *arguments.weights])
    for path, content in (
        (arguments.output, "\n\n".join(markdown) + "\n"),
        (arguments.html, page("Scores", fragment, *paragraphs)),
        (arguments.fragment, fragment),
    ):
        write_bytes(path, content.encode())
        write_beside(path, origin.describe(path))


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--scores", type=Path, nargs="+", required=True, help="scores as JSON")
    parser.add_argument("--leaks", type=Path, help="findings of check_leaks")
    parser.add_argument(
        "--weights", type=Path, nargs="*", default=[], help="weights of the scored networks"
    )
    parser.add_argument("--output", type=Path, required=True, help="output: table as Markdown")
    parser.add_argument("--html", type=Path, required=True, help="output: the same as a page")
    parser.add_argument(
        "--fragment", type=Path, required=True, help="output: banners and table as HTML, no page"
    )
    run(main, parser)
