"""The front page: its bars and sentences, strange names, and the picture of the workflow."""

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from i2crc.data.images import write_gray
from i2crc.data.index import Entry, Index
from i2crc.report.findings import MIOU, Finding
from i2crc.report.flow import CELL, ROW, Step, flow_picture
from i2crc.report.front_page import TRAIN_STEPS, Shown, bars, front_page
from i2crc.runtime.atomic import write_json

NAMES = ["background", '<script>"猫"</script>']


def score(stage: str, miou: float | None) -> dict:
    return {
        "stage": stage, "split": "val", "images": 3, MIOU: miou,
        f"{MIOU}_interval": None if miou is None else [miou, miou], "coverage": miou,
        "iou_255_as_background": dict(zip(NAMES, (miou, miou and 0), strict=True)),
        "confusion": [[1, 0, 0], [1, 0, 0]],
    }  # fmt: skip


def page(miou: float | None, *, leaks=(), warnings=(), fallen=()) -> str:
    scores = {stage: score(stage, miou) for stage in ("val_prediction", "val_crf")}
    return front_page(Path("results/a<b"), "2026-01-02", scores, {}, {}, leaks, warnings, fallen)


def test_it_is_a_fragment_without_scripts_and_with_escaped_names():
    made = page(0.5, leaks=["<leak>"], warnings=["<few> photographs"])
    assert "<script" not in made and "<html" not in made
    for text in ("<h1>a&lt;b</h1>", "2026-01-02", "&lt;script&gt;&#34;猫&#34;", "&lt;few&gt;"):
        assert text in made
    assert re.findall('class="banner">(.*?)</p>', made) == ["&lt;leak&gt;"]
    assert "On 3 photographs of val" in made and "0.500" in made


def test_what_got_worse_has_a_link_to_its_page():
    made = page(0.5, fallen=[Finding("It falls <far>.", "report/sheets/val_worst.html")])
    (item,) = re.findall("<li>(It falls.*?)</li>", made, re.DOTALL)
    assert item.startswith("It falls &lt;far&gt;. &rarr;")
    assert "'/report/sheets/val_worst.html'" in item and "worst images of val" in item
    assert "no stage lowers the mIoU" not in made


def test_without_scores_there_are_no_bars():
    made = page(None)
    assert "Nothing was scored" in made and "Mean IoU by stage" not in made
    assert "there are no scores to compare" in made
    assert bars({"cam": score("cam", None)}) == []


@pytest.mark.parametrize(("iterations", "claimed"), [((99, 99), True), ((99, 9), False)])
def test_only_losses_that_were_judged_have_levelled_off(iterations, claimed):
    histories = dict(zip(("initial", "final"), map(np.ones, iterations), strict=True))
    made = front_page(Path("a"), "", {}, histories, {}, [], [], [])
    assert ("every loss has levelled off" in made) is claimed


@pytest.fixture
def split(tmp_path):
    """A function that returns what is shown of a split of one photograph without a mask."""
    Image.new("RGB", (40, 20)).save(tmp_path / "a.jpg")
    write_gray(tmp_path / "maps/a.png", np.zeros((20, 40), np.uint8))
    write_gray(tmp_path / "maps/a_0.png", np.zeros((20, 40), np.uint8))
    write_json(
        tmp_path / "manifest.json",
        {"stage": "", "folder": "maps", "count": 2, "files": {"a.png": "", "a_0.png": ""}},
    )
    entry = Entry("a", str(tmp_path / "a.jpg"), None, [0], 40, 20, "")

    def shown(name: str) -> Shown:
        columns = {title: [tmp_path / "manifest.json"] for title in TRAIN_STEPS}
        return Shown(Index(name, ["cat"], [entry]), {}, columns)

    return shown


def test_the_picture_tells_two_rounds_from_one_and_from_a_training_on_masks(split):
    def made(*names: str) -> str:
        splits = {name: split(name) for name in names}
        return front_page(Path("a"), "", {}, {}, splits, [], [], [])

    both, full = made("train", "val"), made("val")
    assert "second network" in both and "round two" in both
    assert "The final prediction is of a photograph of val" in both
    splits = {name: split(name) for name in ("train", "val")}
    one = front_page(Path("a"), "", {}, {"initial": np.ones(99)}, splits, [], [], [])
    assert "first network" in one
    assert "second network" not in one and "round two" not in one
    for words in ("first", "second", "round", "all other pictures"):
        assert words not in full.split("The workflow, with a photograph")[1]
    assert "trained on masks" in full
    assert "The workflow, with a photograph" not in made()


@pytest.mark.parametrize("columns", [3, 8])
def test_the_picture_has_every_step_in_order_with_its_round(columns):
    rounds = ["given", "one", "one", "one", "two"]
    steps = [Step(f"<{n}>", "x" * 99, "", part, 0.5) for n, part in enumerate(rounds)]
    root = ElementTree.fromstring(flow_picture(steps, columns))
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert [text for text in texts if text.startswith("<")] == [f"<{n}>" for n in range(5)]
    expected = ["given", "one", "two"] if columns == 8 else ["given", "one", "one", "two"]
    assert [text for text in texts if text in rounds] == expected
    size = min(5, columns) * CELL, -(-5 // columns) * ROW
    assert root.get("viewBox") == f"0 0 {size[0]} {size[1]}"
    assert max(map(len, texts)) < 30
