"""The figures and pages of the report: their texts, odd inputs, reproducible bytes, scripts."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from i2crc.artifacts.provenance import read_provenance
from i2crc.artifacts.stages import STAGES
from i2crc.config.schema import Evaluation, PseudoLabels, Sweeps
from i2crc.evaluation.metrics import scores
from i2crc.report.curves import running_mean, sweep_figure, sweep_page, training_figure
from i2crc.report.figures import bar_chart, headline, inline_svg, message_figure, svg
from i2crc.report.quality_page import quality_page
from i2crc.report.score_figures import class_figure, confusion_figure, row_percent, size_figure

SCRIPTS = Path(__file__).parents[3] / "workflow_scripts"
HEAVY = ("matplotlib", "numpy", "PIL", "jinja2", "torch")
TERMS = ("classification", "foreground", "background", "class_gap")
MEASURES = ("miou", "miou_255_as_background", "miou_255_as_wrong")
OTHERS = (MEASURES[2], "boundary_iou", "coverage", "pixel_accuracy")


def texts(figure) -> list[str]:
    """All texts of a figure, in the order they are drawn."""
    root = ElementTree.fromstring(svg(figure))
    return [
        text for node in root.iter("{http://www.w3.org/2000/svg}text") if (text := node.text or "")
    ]


def score(stage: str, names: list[str], scored: bool = True) -> dict:
    """The score of a stage on some labels; a third of the first one's pixels is predicted 255."""
    size = len(names)
    counts = np.eye(size, size + 1, dtype=int) * 66 * scored
    counts[0, -1] = 33 * scored
    value = 0.625 if scored else None
    return {
        "stage": stage, "split": "val", "images": 3 * scored, "miou": value,
        "miou_255_as_background": 0.375 if scored else None,
        "miou_interval": [0.5, 0.75] if scored else None,
        "miou_255_as_background_interval": [0.25, 0.5] if scored else None,
        **dict.fromkeys(OTHERS, value), "images_without_mask": [], "confusion": counts.tolist(),
        "iou": dict.fromkeys(names, value), "iou_255_as_background": dict.fromkeys(names, 0.375),
        "by_object_size": {
            "small": {"objects": 7 * scored, "recall": value, "found": value},
            "medium": {"objects": 1234 * scored, "recall": value, "found": 0.75 * scored or None},
            "large": {"objects": 0, "recall": None, "found": None},
        },
    }  # fmt: skip


def sweep(parameter: str, scored: bool = True) -> dict:
    """A sweep whose score is best at 0.3, while 0.2 is configured."""
    values = {0.1: 0.4, 0.2: 0.5, 0.3: 0.625} if scored else dict.fromkeys((0.1, 0.2))
    points = [
        {"value": value, **dict.fromkeys(MEASURES, found), "coverage": found}
        for value, found in values.items()
    ]
    return {
        "parameter": parameter, "split": "train", "images": 3 * scored, "points": points,
        "fixed": points[1] if scored else None,
        "oracle": dict.fromkeys(MEASURES, points[-1]) if scored else None,
    }  # fmt: skip


def history(folder: Path, losses: np.ndarray, terms=TERMS) -> Path:
    """The history of a training whose loss and terms all have the same values."""
    path = folder / "classifier" / "history.csv"
    path.parent.mkdir(exist_ok=True)
    lines = [",".join(["iteration", "learning_rate", "loss", *terms])]
    for step, value in enumerate(losses, start=1):
        lines.append(",".join(map(str, [step, 1 / step, *[value] * (1 + len(terms))])))
    path.write_text("\n".join(lines))
    return path


def run_script(name: str, *arguments: str | Path) -> str:
    """Run a script; return what it writes to stderr: its log and the modules that it imports."""
    command = [sys.executable, "-X", "importtime", SCRIPTS / STAGES[name].script, *arguments]
    done = subprocess.run(
        [str(part) for part in command], check=True, capture_output=True, text=True
    )
    return done.stderr


def test_the_same_figure_has_the_same_bytes_and_no_date():
    charts = [bar_chart("IoU", ["cat", "dog"], {"a": [0.2, 0.3], "b": [0.4, None]}) for _ in "ab"]
    first, second = map(svg, charts)
    assert first == second
    assert b"dc:date" not in first


def test_text_stays_text_and_is_escaped():
    found = texts(message_figure("<Classes> & $costs$", "none"))
    assert sorted(found) == ["<Classes> & $costs$", "none"]
    assert "&lt;Classes&gt;" in inline_svg(message_figure("<Classes>", "none"))


def test_an_inline_figure_is_one_svg_element():
    assert ElementTree.fromstring(inline_svg(message_figure("a", "b"))).tag.endswith("svg")


def test_a_single_series_has_values_and_a_missing_one_a_dash():
    chart = bar_chart("precision", ["cat", "dog"], {"a": [0.25, None]})
    headline(chart, "Precision")
    assert {"cat", "dog", "0.250", "-", "precision", "Precision"} <= set(texts(chart))


@pytest.mark.parametrize("count", [6, 21, 81])
def test_bars_stay_apart_however_many_there_are(count):
    series = dict.fromkeys("abc", [0.5] * count)
    chart = bar_chart("IoU", [f"class {n}" for n in range(count)], series)
    assert chart.get_figheight() / count > 0.3  # inches
    spans = sorted((bar.get_y(), bar.get_y() + bar.get_height()) for bar in chart.axes[0].patches)
    assert len(spans) == 3 * count
    assert all(end <= start + 1e-9 for (_, end), (start, _) in pairwise(spans))


@given(arrays(np.float64, st.integers(1, 200), elements=st.floats(-1e3, 1e3) | st.just(np.nan)))
def test_running_mean_is_the_mean_of_the_finite_neighbours(values):
    radius = len(values) // 40
    for index, found in enumerate(running_mean(values)):
        near = values[max(0, index - radius) : index + radius + 1]
        near = near[np.isfinite(near)]
        expected = near.mean() if len(near) else np.nan
        assert found == pytest.approx(expected, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("count", [1, 153, 20_000])
@pytest.mark.parametrize("terms", [(), TERMS[:1], TERMS])
def test_training_figure_has_a_panel_per_term(tmp_path, count, terms):
    losses = np.random.default_rng(0).normal(size=count)
    figure = training_figure(history(tmp_path, losses, terms))
    found = set(texts(figure))
    assert {"Training: classifier", "total loss", "learning rate", "running mean"} <= found
    assert {term.replace("_", " ") for term in terms} <= found
    assert len(figure.axes) == 2 + len(terms)
    band = figure.axes[0].collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(losses.min())
    assert band[:, 1].max() == pytest.approx(losses.max())
    assert len(svg(figure)) < 400_000


def test_training_figure_shows_the_validations(tmp_path):
    path = history(tmp_path, np.ones(4), ())
    rows = zip(path.read_text().splitlines(), ("dev_miou", "", "0.25", "", "0.5"), strict=True)
    path.write_text("\n".join(f"{row},{score}" for row, score in rows))
    figure = training_figure(path)
    assert "mIoU on dataset.dev_list" in texts(figure)
    _loss, dev, _rate = figure.axes
    assert dev.lines[0].get_xydata().tolist() == [[2, 0.25], [4, 0.5]]


def test_training_figure_survives_an_overflow(tmp_path):
    losses = np.ones(100)
    losses[3:9] = [np.nan, np.inf, -np.inf, np.nan, np.nan, np.nan]
    assert "total loss" in texts(training_figure(history(tmp_path, losses)))


def test_class_figure_names_stages_classes_and_means():
    names = ["background", "cat", "dog"]
    found = texts(class_figure([score("val_crf", names), score("cam", names, scored=False)]))
    assert set(names) <= set(found)
    assert "val_crf (val): mIoU 0.375 (95 % interval 0.250 to 0.500), coverage 0.625" in found
    assert not any(text.startswith("cam") for text in found)


def test_bars_of_few_labels_have_their_values():
    for count, shown in ((20, 20), (80, 0)):
        names = [f"class {number}" for number in range(count)]
        scores = [score(stage, names) for stage in ("val_prediction", "val_crf")]
        assert texts(class_figure(scores)).count("0.375") == 2 * shown


def test_size_figure_has_the_number_of_objects():
    names = ["background", "cat"]
    scores = [score("cam", names), score("val_crf", names), score("x", names, scored=False)]
    found = texts(size_figure(scores))
    assert {"Errors by object size", "small", "under 1 %", "cam (val)"} <= set(found)
    assert "x (val)" not in found
    # Each stage has its bar in both panels.
    assert (found.count("0.62 of 7"), found.count("no object")) == (4, 4)
    assert (found.count("0.62 of 1234"), found.count("0.75 of 1234")) == (2, 2)


@pytest.mark.filterwarnings("error")
def test_names_of_any_script_and_length_are_labels():
    names = ["background", "猫と犬", "قطة", '<b>"cat" & dog</b>', "x" * 300]
    for draw in (lambda one: class_figure([one]), confusion_figure):
        found = texts(draw(score("val_crf", names)))
        assert {*names[:4], "x" * 27 + "…"} <= set(found)


@pytest.mark.parametrize("count", [2, 20, 80])
def test_letters_of_the_confusion_are_readable_and_apart(count):
    figure = confusion_figure(score("val_crf", [f"class {number}" for number in range(count)]))
    svg(figure)
    axes = figure.axes[0]
    size = axes.get_yticklabels()[0].get_fontsize()
    assert size >= 7
    row = axes.get_window_extent().height / figure.dpi * 72 / count
    column = axes.get_window_extent().width / figure.dpi * 72 / (count + 1)
    assert min(row, column) > size
    # Where the page is narrow, it scrolls before its letters are below 7.7 pixels.
    assert f"min-width: {80 * figure.get_figwidth():.0f}px" in inline_svg(figure)


def test_confusion_has_percents_and_a_column_of_ignored():
    found = texts(confusion_figure(score("val_crf", ["background", "cat"])))
    assert found.count("background") == found.count("cat") == 2
    assert {"67", "33", "ignored"} <= set(found)


def test_confusion_without_ignored_pixels_has_no_column_of_them():
    complete = score("val_crf", ["background", "cat"])
    complete["confusion"] = [[9, 1, 0], [0, 0, 0]]
    found = texts(confusion_figure(complete))
    assert "ignored" not in found
    assert "90" in found and "10" in found


def test_confusion_of_many_labels_has_no_numbers():
    names = [f"class {number}" for number in range(22)]
    assert "67" not in texts(confusion_figure(score("val_crf", names)))


@given(arrays(np.int64, (4, 5), elements=st.integers(0, 10**9)))
def test_rows_of_the_confusion_are_percents(counts):
    shares = row_percent(counts)
    assert shares.shape == (4, 5 if counts[:, -1].any() else 4)
    for row, total in zip(shares, counts.sum(axis=1), strict=True):
        assert np.isnan(row).all() if total == 0 else row.sum() == pytest.approx(100)


def test_without_masks_every_figure_says_so():
    null = score("val_crf", ["background", "cat"], scored=False)
    nothing = class_figure([null]), size_figure([null]), confusion_figure(null)
    for figure in (*nothing, sweep_figure([sweep("a", False)])):
        assert "not scored: no ground-truth masks" in texts(figure)
    assert "not scored: no ground-truth masks (a)" in sweep_page([sweep("a", False)])
    unlabelled = {"mean_average_precision": None, "average_precision": {}, "positives": {}}
    page = quality_page({"iou": None}, unlabelled)
    assert "not scored: no ground-truth masks" in page
    assert "not scored: no image-level labels" in page
    assert "not scored: no validation images" in quality_page({"iou": None})


def test_sweep_figure_marks_the_configured_and_the_best_value():
    names = ["cam_background", "conflict_threshold", "salient_value"]
    figure = sweep_figure([sweep(name) for name in names])
    found = texts(figure)
    assert {*names, "configured", "oracle (uses ground truth)", "coverage"} <= set(found)
    assert found.index("255 as background") < found.index("255 left out")
    assert found.count("configured: 0.2") == 3
    explained = " ".join(found)
    for section, name in ((Evaluation, names[0]), (PseudoLabels, names[1])):
        for fields in (section.model_fields, Sweeps.model_fields):
            assert fields[name].description.split("; ")[0] in explained
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert list(lines["configured"].get_xdata()) == [0.2, 0.2]
    assert list(lines["oracle (uses ground truth)"].get_xdata()) == [0.3]


def test_sweep_page_has_the_gain_of_the_oracle():
    text = sweep_page([sweep("cam_background"), sweep("salient_value", scored=False)])
    assert "<h2>cam_background</h2>" in text
    assert "<p>background score that the CAM of a class must exceed<br>higher: " in text
    assert "you must not choose a value by it" in text
    assert text.count("<tr><td>") == 3
    assert "Oracle value (uses ground truth)" in text
    assert text.count('<td class="number">0.125</td>') == 3
    assert "not scored: no ground-truth masks (salient_value)" in text


def test_plots_are_written_with_their_provenance(tmp_path):
    files = {"score": score("val_crf", ["background", "cat"]), "sweep": sweep("cam_background")}
    quality = {"split": "train", "images": 3, "threshold": 0.5}
    files["saliency"] = {**quality, **dict.fromkeys(("iou", "precision", "recall", "mae"), 0.5)}
    files["classifier"] = {
        "split": "val", "images": 3, "mean_average_precision": 0.75,
        "average_precision": {"cat": 0.75, "a < b": None}, "positives": {"cat": 2, "a < b": 0},
    }  # fmt: skip
    for name, content in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    (tmp_path / "history.csv").write_text("iteration,learning_rate,loss\n1,0.1,2\n")
    sources = {
        "training": ["history.csv"],
        "classes": ["score.json"],
        "sizes": ["score.json"],
        "confusion": ["score.json"],
        "sweep_curves": ["sweep.json"],
        "sweep_table": ["sweep.json"],
        "quality": ["saliency.json", "classifier.json"],
    }

    made = {figure: tmp_path / figure for figure in sources}
    words = [
        word
        for figure, inputs in sources.items()
        for word in ("--figure", figure, made[figure], *(tmp_path / name for name in inputs))
    ]
    assert run_script("plot", *words).count(": is drawn\n") == len(made)
    for figure, inputs in sources.items():
        facts = read_provenance(made[figure])
        assert facts["script"] == "plot"
        assert set(facts["inputs"]) == set(inputs)
    page = made["quality"].read_text()
    assert "<td>a &lt; b</td>" in page
    assert page.count("<svg") == 1
    bytes_made = {path: path.read_bytes() for path in made.values()}
    for path in made.values():
        path.unlink()  # as Snakemake does before a job starts
    log = run_script("plot", *words)
    assert log.count("already made") == len(made)
    assert not [name for name in HEAVY if f" {name}\n" in log]
    assert bytes_made == {path: path.read_bytes() for path in made.values()}


def test_no_script_of_the_report_imports_heavy_packages_at_its_start():
    """A script that finds its outputs already made must end at once."""
    scripts = [SCRIPTS / one.script for one in STAGES.values() if one.folder == "report"]
    program = "import runpy, sys; [*map(runpy.run_path, sys.argv[1:])]; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, scripts)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert len(scripts) == 6
    assert not set(HEAVY) & set(done.stdout.split())


def test_a_stage_that_predicted_255_everywhere_is_shown_as_background():
    counts = np.array([[0, 0, 6], [0, 0, 2]])
    found = scores(counts, ["background", "cat"])
    known = {"stage": "cam", "split": "train", "miou_255_as_background_interval": None}
    figure = class_figure([{**known, **found}])
    assert "cam (train): mIoU 0.375, coverage 0.000" in texts(figure)
    assert [bar.get_width() for bar in figure.axes[0].patches] == [0.75, 0]
