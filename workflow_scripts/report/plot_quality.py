"""Make a page of the quality of the saliency maps and of the classifier."""

import argparse
from pathlib import Path
from typing import Any

from i2crc.artifacts.provenance import Origin, write_beside
from i2crc.artifacts.schemas import ClassifierQuality, SaliencyQuality, read_checked
from i2crc.report.figures import NOT_SCORED, bar_chart, headline, inline_svg
from i2crc.report.pages import html_table, page
from i2crc.runtime.atomic import write_bytes
from i2crc.runtime.parser import make_parser, run

SALIENCY = """<h2>Saliency maps</h2>
<p>Against the foreground (all classes together) of the ground-truth masks. IoU, precision and
recall are better the nearer to 1; the mean absolute error (MAE) of the grey values is better the
nearer to 0. A low recall means objects that the pseudo labels can only miss, a low precision
background that they may take for objects.</p>"""
CLASSIFIER = """<h2>Classifier</h2>
<p>Average precision of ranking the images by the score of a class (0 to 1, higher is better; a
ranking by chance has the share of the images that show the class). A class without an image has
none.</p>"""


def saliency_part(quality: dict[str, Any]) -> str:
    """The table of saliency quality."""
    if quality["iou"] is None:
        return f"{SALIENCY}\n<p>{NOT_SCORED}</p>"
    header = ["Split", "Images", "Foreground from", "IoU", "Precision", "Recall", "MAE"]
    keys = ("split", "images", "threshold", "iou", "precision", "recall", "mae")
    return f"{SALIENCY}\n{html_table(header, [[quality[key] for key in keys]])}"


def classifier_part(quality: dict[str, Any]) -> str:
    """The chart and the table of average precision per class, and their mean."""
    if quality["mean_average_precision"] is None:
        return f"{CLASSIFIER}\n<p>not scored: no image-level labels</p>"
    precision = quality["average_precision"]
    title = f"Average precision on {quality['split']}, {quality['images']} images"
    mean = quality["mean_average_precision"]
    unit = f"average precision (0 to 1); dashed: the mean, {mean:.3f}"
    chart = bar_chart(unit, list(precision), {"classifier": list(precision.values())})
    headline(chart, title)
    axes = chart.axes[0]
    axes.set_xlim(0, 1)
    axes.axvline(mean, color="black", linestyle="--", linewidth=1)
    table = html_table(["Class", "Images with it", "Average precision"], classifier_rows(quality))
    return f"{CLASSIFIER}\n{inline_svg(chart)}\n{table}"


def classifier_rows(quality: dict[str, Any]) -> list[list[Any]]:
    """Class, images with it, average precision; last the mean."""
    positives = quality["positives"]
    rows = [[name, positives[name], value] for name, value in quality["average_precision"].items()]
    return [*rows, ["mean", None, quality["mean_average_precision"]]]


def main(arguments: argparse.Namespace) -> None:
    origin = Origin(Path(__file__), [arguments.saliency, arguments.classifier])
    parts = [
        saliency_part(read_checked(arguments.saliency, SaliencyQuality)),
        classifier_part(read_checked(arguments.classifier, ClassifierQuality)),
    ]
    content = page("Quality of the saliency maps and of the classifier", *parts)
    write_bytes(arguments.output, content.encode())
    write_beside(arguments.output, origin.describe(arguments.output))


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--saliency", type=Path, required=True, help="saliency quality as JSON")
    parser.add_argument("--classifier", type=Path, required=True, help="classifier quality as JSON")
    parser.add_argument("--output", type=Path, required=True, help="output: HTML")
    run(main, parser)
