"""The page on the quality of the saliency maps and of the classifier."""

from typing import Any

from markupsafe import Markup

from i2crc.report.figures import NOT_SCORED, bar_chart, headline, inline_svg
from i2crc.report.pages import Cell, render

SALIENCY = {
    "split": "Split",
    "images": "Images",
    "threshold": "Foreground from",
    "iou": "IoU",
    "precision": "Precision",
    "recall": "Recall",
    "mae": "MAE",
}


def quality_page(saliency: dict[str, Any], classifier: dict[str, Any]) -> str:
    """Return the HTML page of the contents of quality/saliency.json and quality/classifier.json."""
    scored = saliency["iou"] is not None
    labelled = classifier["mean_average_precision"] is not None
    return render(
        "quality.html",
        title="Quality of the saliency maps and of the classifier",
        not_scored=NOT_SCORED,
        saliency_header=list(SALIENCY.values()),
        saliency_row=[saliency[key] for key in SALIENCY] if scored else None,
        chart=precision_chart(classifier) if labelled else None,
        classifier_rows=classifier_rows(classifier) if labelled else None,
    )


def precision_chart(quality: dict[str, Any]) -> Markup:
    """Return bars of the average precision per class, with a line at their mean, as SVG."""
    precision, mean = quality["average_precision"], quality["mean_average_precision"]
    unit = f"average precision (0 to 1); dashed: the mean, {mean:.3f}"
    chart = bar_chart(unit, list(precision), {"classifier": list(precision.values())})
    headline(chart, f"Average precision on {quality['split']}, {quality['images']} images")
    axes = chart.axes[0]
    axes.set_xlim(0, 1)
    axes.axvline(mean, color="black", linestyle="--", linewidth=1)
    return inline_svg(chart)


def classifier_rows(quality: dict[str, Any]) -> list[list[Cell]]:
    """Return class, number of images that show it, average precision; the last row is the mean."""
    positives = quality["positives"]
    rows = [[name, positives[name], value] for name, value in quality["average_precision"].items()]
    return [*rows, ["mean", None, quality["mean_average_precision"]]]
