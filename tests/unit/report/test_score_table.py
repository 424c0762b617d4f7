"""score_table.py: the table as Markdown and as a page; warnings above it, notes below."""

import json
import re
import runpy
import subprocess
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

from i2crc.artifacts.provenance import read_provenance
from i2crc.artifacts.stages import STAGES
from i2crc.data.index import Index
from i2crc.models.weight_files import save_weights
from i2crc.report.findings import Finding
from i2crc.report.score_table import CEILING, COLUMNS, READING, UNSCORED, score_pages

SCRIPT = Path(__file__).parents[3] / "workflow_scripts" / STAGES["score_table"].script
RESULT = {
    "split": "val",
    "images": 80,
    "miou": 0.71234,
    "miou_interval": [0.69, 0.73],
    "miou_255_as_background": 0.61,
    "miou_255_as_background_interval": [0.58, 0.63],
    "miou_255_as_wrong": 0.51,
    "boundary_iou": 0.41,
    "coverage": 0.95,
    "pixel_accuracy": 0.91,
    "iou": {},
    "iou_255_as_background": {},
    "images_without_mask": [],
}
CELLS = ["val", "80", "0.610", "0.580 to 0.630", "0.950", "0.712", "0.510", "0.410", "0.910"]
UNKNOWN = {name: None for name, value in RESULT.items() if isinstance(value, float | list)}


@pytest.fixture
def scores(tmp_path):
    stages = {
        "cam": RESULT,
        "a<b": {**RESULT, **UNKNOWN, "images": 0, "images_without_mask": ["x", "y"]},
    }
    paths = []
    for stage, result in stages.items():
        paths.append(tmp_path / f"{len(paths)}.json")
        paths[-1].write_text(json.dumps({"stage": stage, **result}))
    return paths


def table(
    scores: list[Path], leaks: Path | None = None, weights=(), preflight: Path | None = None
) -> tuple[str, str]:
    """The Markdown and the page."""
    folder = scores[0].parent / "table"
    paths = [folder / name for name in ("table.md", "table.html")]
    runpy.run_path(str(SCRIPT))["main"](
        Namespace(
            scores=scores,
            images=[],
            bootstrap=200,
            index=None,
            leaks=leaks,
            preflight=preflight,
            weights=list(weights),
            output=paths[0],
            html=paths[1],
        )
    )
    assert set(read_provenance(paths[1])["inputs"]) >= {"../0.json", "../1.json"}
    return tuple(path.read_text() for path in paths)


def cells(html: str) -> list[list[str]]:
    rows = re.findall("<tr>(.*?)</tr>", html)
    return [re.findall("<t[dh][^>]*>(.*?)</t[dh]>", row) for row in rows]


def test_every_form_has_the_same_cells(scores):
    markdown, html = table(scores)
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert rows[0] == list(COLUMNS.values())
    leading = ["mIoU, 255 as background", "95 % interval", "Coverage", "mIoU, 255 left out"]
    assert rows[0][3:7] == leading
    assert rows[2] == ["cam", *CELLS]
    assert rows[3] == ["a<b", "val", "0", *["-"] * 7]
    assert cells(html)[1] == rows[2]
    assert cells(html)[2] == ["a&lt;b", *rows[3][1:]]
    assert 'class="banner"' not in html and "**" not in markdown


def test_notes_stand_below_the_table(scores):
    markdown, html = table(scores)
    note = "a&lt;b: 2 images without a mask, not scored."
    assert html.index("</table>") < html.index(note)
    assert markdown.rindex("|") < markdown.index("a<b: 2 images without a mask, not scored.")
    assert "cam: " not in markdown


def test_a_note_counts_the_corrected_photographs():
    index = Index("train", ["cat"], [], corrections={"exclude": ["a", "b"], "relabel": {"c": []}})
    note = "Training data: 2 photographs excluded and 1 photograph relabelled by "
    for text in score_pages([RESULT | {"stage": "cam"}], [], index.corrected):
        assert text.rindex(f"{note}dataset.corrections.") > text.index("0.580 to 0.630")
    assert "Training data" not in score_pages([], [], replace(index, corrections={}).corrected)[0]


def test_what_got_worse_stands_first_below_the_table():
    fallen = [Finding("The mIoU falls: look at crf.labels.", "report/sheets/val_worst.html")]
    sentence = (
        "The mIoU falls: look at crf.labels. See report/sheets/val_worst.html (target report)."
    )
    for text in score_pages([RESULT | {"stage": "cam"}], [], "", fallen):
        assert text.index("0.580 to 0.630") < text.index(sentence) < text.index(READING)


def weights(folder: Path, name: str, leaks: list[str], supervision: str) -> Path:
    path = folder / name
    metadata = {"settings": {"supervision": supervision}, "leaks": leaks}
    save_weights(path, nn.Linear(1, 1), metadata)
    return path


def test_warnings_stand_above_the_table_each_once(scores, tmp_path):
    leaks = tmp_path / "leaks.json"
    leaks.write_text(json.dumps({"findings": ["5 images < shared"]}))
    preflight = tmp_path / "preflight.json"
    preflight.write_text(json.dumps({"warnings": ["train has no photograph of cat"]}))
    files = [
        weights(tmp_path, "initial.safetensors", ["labels equal masks"], "full"),
        weights(tmp_path, "final.safetensors", [], "full"),
    ]
    markdown, html = table(scores, leaks, files, preflight)
    expected = ["5 images < shared", "labels equal masks", CEILING]
    expected.append("train has no photograph of cat")
    assert re.findall(r"\*\*(.*)\*\*", markdown) == expected
    assert markdown.startswith("**") and markdown.rindex("**") < markdown.index("|")
    found = re.findall('class="banner">(.*?)</p>', html)
    assert found == [message.replace("<", "&lt;") for message in expected]
    assert html.rindex('class="banner"') < html.index("<table>")


@pytest.mark.parametrize("results", [[], [{**RESULT, **UNKNOWN, "stage": "cam", "images": 0}]])
def test_a_run_without_scores_has_a_sentence_and_its_warnings(results):
    for text in score_pages(results, ["nothing was scored on val"]):
        assert "nothing was scored on val" in text and UNSCORED in text
        assert "255 as background" not in text and "<table>" not in text


def test_weak_supervision_needs_no_warning(scores, tmp_path):
    file = weights(tmp_path, "final.safetensors", [], "pseudo")
    assert "**" not in table(scores, None, [file])[0]


def test_command_line_names_a_missing_file(scores, tmp_path):
    command = [sys.executable, str(SCRIPT), "--scores", *map(str, scores), "none.json"]
    command += ["--output", "t.md", "--html", "t.html"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "none.json: missing" in done.stderr
    assert not list(tmp_path.glob("t.*"))
