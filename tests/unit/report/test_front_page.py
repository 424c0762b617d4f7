"""The front page: its bars and sentences, strange names, and the picture of the workflow."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from i2crc.report.findings import MIOU
from i2crc.report.flow import CELL, ROW, Step, flow_picture
from i2crc.report.front_page import bars, front_page

NAMES = ["background", '<script>"猫"</script>']


def score(stage: str, miou: float | None) -> dict:
    return {
        "stage": stage, "split": "val", "images": 3, MIOU: miou,
        f"{MIOU}_interval": None if miou is None else [miou, miou], "coverage": miou,
        "iou_255_as_background": dict(zip(NAMES, (miou, miou and 0), strict=True)),
        "confusion": [[1, 0, 0], [1, 0, 0]],
    }  # fmt: skip


def page(miou: float | None, *, leaks=(), warnings=()) -> str:
    scores = {stage: score(stage, miou) for stage in ("val_prediction", "val_crf")}
    return front_page(Path("results/a<b"), "2026-01-02", scores, {}, {}, leaks, warnings)


def test_it_is_a_fragment_without_scripts_and_with_escaped_names():
    made = page(0.5, leaks=["<leak>"], warnings=["<few> photographs"])
    assert "<script" not in made and "<html" not in made
    for text in ("<h1>a&lt;b</h1>", "2026-01-02", "&lt;script&gt;&#34;猫&#34;", "&lt;few&gt;"):
        assert text in made
    assert re.findall('class="banner">(.*?)</p>', made) == ["&lt;leak&gt;"]
    assert "On 3 photographs of val" in made and "0.500" in made


def test_without_scores_there_are_no_bars():
    made = page(None)
    assert "Nothing was scored" in made and "Mean IoU by stage" not in made
    assert "there are no scores to compare" in made
    assert bars({"cam": score("cam", None)}) == []


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
