"""What a network is scored on while it trains: like the stages, on photographs left out."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from i2crc.config.schema import Segmentation
from i2crc.data.images import read_photo, resize_nearest, write_label
from i2crc.data.index import Entry, Index
from i2crc.data.transforms import IMAGENET
from i2crc.evaluation import validation
from i2crc.evaluation.metrics import confusion, scores
from i2crc.inference.prediction import network_label, predict_logits
from i2crc.models.deeplab import build_segmentation

NAMES = ["cat", "dog"]
SETTINGS = {"backbone": "resnet18", "output_stride": 32, "scales": [1.0, 0.5]}


@pytest.fixture
def dev(tmp_path) -> Index:
    """Two photographs; the mask of the second has twice its size, as that of a working copy."""
    rng, entries = np.random.default_rng(0), []
    for name, size, factor in (("a", (48, 33), 1), ("b", (40, 60), 2)):
        photo, mask = tmp_path / f"{name}.png", tmp_path / f"mask_{name}.png"
        Image.fromarray(rng.integers(0, 256, (*size[::-1], 3), np.uint8)).save(photo)
        own = tuple(side * factor for side in size)
        write_label(mask, rng.choice(np.array([0, 1, 2, 255], np.uint8), own[::-1]))
        entries.append(Entry(name, str(photo), str(mask), [0], *size, ""))
    return Index("dev", NAMES, entries)


def test_the_score_is_that_of_the_stages_at_the_working_size(dev):
    torch.manual_seed(0)
    model = build_segmentation(Segmentation(**SETTINGS), len(NAMES)).eval()
    names = ["background", *NAMES]
    counts = np.zeros((3, 4), np.int64)
    for entry in dev.images:
        photo = np.asarray(read_photo(Path(entry.image)))
        label, _ = network_label(predict_logits(model, photo, IMAGENET), photo.shape[:2])
        truth = resize_nearest(np.asarray(Image.open(entry.mask)), entry.size)
        counts += confusion(truth, label, 3)
    train = Index("train", NAMES, [])
    settings = Segmentation(validations=4)
    index, found = validation.validation_of(train, {}, dev, settings, seed=0)
    assert (index, found.times, found.images, found.chooses) == (train, 4, 2, True)
    before = torch.get_rng_state()
    assert found.score(model, IMAGENET) == scores(counts, names)["miou"]
    assert torch.equal(torch.get_rng_state(), before)


def entry(number: int, classes: list[int], trusted: str | None = None) -> Entry:
    return Entry(str(number), "", None, classes, 1, 1, "", trusted_mask=trusted)


@given(
    st.lists(st.tuples(st.sets(st.integers(0, 3)), st.booleans()), max_size=150),
    st.floats(0, 0.5),
    st.integers(0, 9),
)
def test_each_class_and_trusted_mask_is_trained_on(photographs, share, seed):
    entries = [
        entry(number, sorted(classes), "mask" if trusted else None)
        for number, (classes, trusted) in enumerate(photographs)
    ]
    index, found = validation.validation_of(
        Index("train", [*"abcd"], entries), {}, None, Segmentation(hold_out=share), seed
    )
    held = [one for one in entries if one not in index.images]
    assert len(held) == (found.images if found else 0)
    assert len(held) <= min(validation.MOST_HELD_OUT, round(share * len(entries)))
    assert not any(one.trusted_mask for one in held)
    assert {c for e in entries for c in e.classes} == {c for e in index.images for c in e.classes}


def test_a_share_of_many_photographs_is_left_out_in_both_rounds_alike():
    entries = [entry(number, [number % 4]) for number in range(200)]
    settings = Segmentation(hold_out=0.05)

    def held(seed: int) -> list[str]:
        rest, found = validation.validation_of(
            Index("train", [*"abcd"], entries), {}, None, settings, seed
        )
        assert (found.name, found.images, found.chooses) == ("held_out_miou", 10, False)
        return sorted({one.id for one in entries} - {one.id for one in rest.images})

    assert held(0) == held(0) != held(1)


def test_of_many_photographs_of_dev_as_many_of_each_kind_are_scored():
    """Ids begin with their class in many data sets, so the first ones would be of one class."""
    entries = [entry(number, [number // 150]) for number in range(300)]
    chosen = validation.drawn(entries, seed=0)
    assert len(chosen) == validation.MOST_SCORED
    assert min(Counter(one.classes[0] for one in chosen).values()) > 30
    assert [int(one.id) for one in chosen] == sorted(int(one.id) for one in chosen)
