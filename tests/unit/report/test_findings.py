"""What the front page says of a run: its headline, and what got worse, and nothing else."""

import copy
import re
from functools import reduce
from operator import getitem
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from i2crc.config.schema import Config
from i2crc.report.findings import (
    MIOU,
    PAGES,
    STEPS,
    WORDS,
    fallen_stages,
    findings,
    headline,
    measured,
    still_falls,
)

NAMES = ["background", "cat", "dog"]


def score(stage: str, values: list[float], split: str = "train") -> dict:
    """A score whose classes have these IoU; every class is predicted somewhere."""
    miou = sum(values) / len(values)
    return {
        "stage": stage, "split": split, "images": 12, MIOU: miou,
        f"{MIOU}_interval": [miou - 0.01, miou + 0.01], "coverage": 0.9,
        "iou_255_as_background": dict(zip(NAMES, values, strict=True)),
        "confusion": [[9, 1, 1, 0]] * 3,
    }  # fmt: skip


def rising() -> dict:
    """Scores of all stages; each is above the one before it."""
    stages = [*WORDS]
    return {
        stage: score(stage, [0.3 + n / 20] * 3, "val" if n > 4 else "train")
        for n, stage in enumerate(stages)
    }


def told(scores: dict, histories: dict | None = None) -> list[tuple[str, str]]:
    found = findings(scores, histories or {}, [])
    assert {finding.page for finding in found} <= set(PAGES)
    return [(finding.text, finding.page) for finding in found]


def test_the_headline_is_the_score_on_val_with_crf():
    scores = rising()
    scores["val_crf"] |= {MIOU: 0.61249, f"{MIOU}_interval": [0.5, 0.7], "images": 80}
    scores["val_prediction"] |= {MIOU: 0.59}
    sentence, meaning = headline(scores)
    assert sentence == (
        "On 80 photographs of val, the final network with the dense CRF reaches a mean IoU of "
        "0.612 (95 % interval 0.500 to 0.700); without the CRF it is 0.590."
    )
    assert "3 classes, background included" in meaning


def test_a_class_that_no_mask_has_is_neither_counted_nor_missed():
    """One pixel of a cat is predicted as a dog."""
    scores = rising()
    scores["val_crf"] |= {"confusion": [[9, 0, 0, 0], [0, 8, 1, 0], [0, 0, 0, 0]]}
    scores["val_crf"]["iou_255_as_background"]["dog"] = 0.0
    assert "2 classes, background included" in headline(scores)[1]
    assert not [text for text, _ in told(scores) if "dog" in text and "wrong places" in text]
    assert measured(scores["val_crf"])["dog"] is None


def test_without_val_the_headline_says_that_labels_were_scored():
    scores = {stage: one for stage, one in rising().items() if one["split"] == "train"}
    first, second, _ = headline(scores)
    assert "not scored" in first
    assert "0.500" in second and "refined labels" in second and "not of the network" in second


def test_without_any_mask_nothing_is_claimed():
    scores = {stage: one | {MIOU: None, "coverage": None} for stage, one in rising().items()}
    assert headline(scores) == headline({})
    assert "no ground-truth mask to score with" in headline(scores)[0]
    assert told(scores) == []


@given(st.lists(st.floats(0.01, 0.99), min_size=7, max_size=7).map(sorted), st.data())
def test_nothing_is_told_if_all_rises(values, data):
    weights = data.draw(st.lists(st.floats(0.5, 1), min_size=3, max_size=3))
    scores = {
        stage: score(stage, [value * weight for weight in weights], "val")
        for stage, value in zip(WORDS, values, strict=True)
    }
    assert told(scores, {"final": np.geomspace(8, 0.01, 100)}) == []


def fallen(folder: Path, **stages: list[tuple[int, int]]) -> list[tuple[str, str]]:
    """The sentences about stages with these hits and ignored pixels in each of their images.

    An image has 100 pixels of background, which are all found, and 100 of a cat. What is neither a
    hit nor ignored is predicted as background.
    """
    scores, files = {}, []
    for stage, images in stages.items():
        hits, truth = sum(hit for hit, _ in images), 100 * len(images)
        values = [truth / (2 * truth - hits), hits / truth]  # 255 is background, too
        scores[stage] = score(stage, [*values, 0.0], stage[:5]) | {MIOU: sum(values) / 2}
        files.append(folder / f"{stage}.images.csv")
        rows = [
            f"{n},0:100:100:{200 - hit - ignored}:0 1:{hit}:100:{hit}:{ignored}"
            for n, (hit, ignored) in enumerate(images)
        ]
        files[-1].write_text("\n".join(["id,counts", *rows, ""]))
    return [(finding.text, finding.page) for finding in fallen_stages(scores, files, 200)]


@pytest.mark.parametrize("step", STEPS)
def test_a_stage_that_makes_things_worse_is_told_with_the_settings_to_look_at(tmp_path, step):
    before, after = step
    ((text, page),) = fallen(tmp_path, **{before: [(80, 0)] * 9, after: [(50, 0)] * 9})
    assert text == (
        f"The mIoU (255 as background) falls from 0.817 ({WORDS[before]}) to 0.583 "
        f"({WORDS[after]}), by 0.233 (95 % interval 0.233 to 0.233): look at {STEPS[step][0]}."
    )
    assert page == STEPS[step][1] and page in PAGES


@pytest.mark.parametrize(
    ("before", "after", "count"),
    [
        ([(50, 0)] * 9, [(80, 0)] * 9, 0),  # better
        ([(80, 0)] * 5 + [(50, 0)] * 5, [(50, 0)] * 5 + [(79, 0)] * 5, 0),  # by chance
        ([(50, 0)] * 9, [(50, 0)] * 9, 0),
        ([(50, 0)] * 9, [(40, 60)] * 9, 1),  # all pixels right that have a class
    ],
)
def test_only_a_fall_that_is_not_by_chance_is_told(tmp_path, before, after, count):
    assert len(fallen(tmp_path, initial_labels=before, refined_labels=after)) == count


def test_a_stage_whose_predecessor_was_not_scored_is_not_judged(tmp_path):
    assert fallen(tmp_path, cam=[(80, 0)] * 9, refined_labels=[(50, 0)] * 9) == []
    assert fallen_stages(rising() | {"val_crf": score("val_crf", [0.1] * 3)}, [], 200) == []


def test_the_settings_that_are_named_exist():
    settings = Config().model_dump()
    for text, _ in STEPS.values():
        names = re.findall(r"\w+(?:\.\w+)+", text)
        assert names
        for name in names:
            section, *keys, last = name.split(".")
            assert last in reduce(getitem, keys, settings[section]), name


def test_missed_classes_are_told_apart():
    scores = rising()
    scores["val_crf"] = score("val_crf", [0.9, 0.0, 0.0], "val") | {MIOU: 0.9}
    scores["val_crf"]["confusion"] = [[9, 0, 1, 0]] * 3
    texts = dict(told(scores))
    assert texts["The final predictions with CRF never show: cat."] == "report/confusion.html"
    assert "The final predictions with CRF show in wrong places only: dog." in texts


def test_the_class_that_falls_most_is_told():
    scores = rising()
    scores["refined_labels"]["iou_255_as_background"] |= {"cat": 0.1, "dog": 0.3}
    ((text, page),) = told(scores)
    assert text == (
        "The IoU of cat falls most: from 0.450 (predictions of round one with CRF) to 0.100 "
        "(refined labels)."
    )
    assert page == "report/sheets/train_worst.html"


def test_a_class_without_ground_truth_is_no_finding():
    scores = rising()
    scores["val_crf"]["iou_255_as_background"]["cat"] = None
    assert told(scores) == []


@pytest.mark.parametrize("coverage", [0.31, 0.0])
def test_low_coverage_is_told(coverage):
    scores = rising()
    scores["initial_labels"]["coverage"] = coverage
    ((text, _),) = told(scores)
    assert text.startswith(f"Only {coverage:.0%} of the pixels of the initial labels have a class")


@pytest.mark.parametrize(
    ("losses", "falls"),
    [
        (np.linspace(2, 1, 100), True),
        (np.geomspace(8, 0.01, 100), False),
        (np.ones(100), False),
        (np.linspace(1, 2, 100), False),
        (np.linspace(2, 1, 20), False),
        (np.full(100, np.nan), False),
    ],
)
def test_a_loss_that_still_falls_is_told(losses, falls):
    assert still_falls(losses) is falls
    found = told(copy.deepcopy(rising()), {"initial": losses})
    assert [page for _, page in found] == ["report/training_initial.html"] * falls


@given(arrays(np.float64, st.integers(1, 90), elements=st.floats(-1e3, 1e3) | st.just(np.nan)))
def test_any_history_is_judged(losses):
    assert still_falls(losses) in (True, False)
    if still_falls(losses):
        assert not still_falls(-losses)
