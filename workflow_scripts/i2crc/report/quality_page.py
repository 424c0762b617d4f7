"""The page on the quality of the saliency maps and of the classifier."""

from typing import Any

from markupsafe import Markup

from i2crc.report.figures import NOT_SCORED, bar_chart, headline, inline_svg
from i2crc.report.pages import Cell, render


def quality_page(saliency: dict[str, Any], classifier: dict[str, Any] | None = None) -> Markup:
    """Return the HTML page of the contents of quality/saliency.json and quality/classifier.json.

    Without validation images there is no quality of the classifier.
    """
    scored = classifier if classifier and classifier["mean_average_precision"] is not None else None
    return render(
        "quality.html",
        not_scored=NOT_SCORED,
        saliency=saliency,
        chart=precision_chart(scored) if scored else None,
        precision=precision_rows(scored) if scored else [],
        has_val=classifier is not None,
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


def precision_rows(quality: dict[str, Any]) -> list[list[Cell]]:
    """Return class, number of images that show it, average precision; the last row is the mean."""
    precision, positives = quality["average_precision"], quality["positives"]
    rows = [[name, positives[name], value] for name, value in precision.items()]
    return [*rows, ["mean", None, quality["mean_average_precision"]]]
