"""Drawing val: a share of each class, near-duplicates on one side, the same for the same seed."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from helpers.folders import CLASSES
from i2crc.config.schema import Dataset
from i2crc.data.label_lists import ListRow
from i2crc.data.listing import Listing, list_dataset
from i2crc.data.splits import draw, draw_splits, near_duplicates, photo_hash


def rows(classes: list[list[int]]) -> list[ListRow]:
    return [ListRow(str(n), some, "", True, f"{n}.jpg") for n, some in enumerate(classes)]


def share_of(classes: list[list[int]], share: float) -> dict[int, tuple[int, int]]:
    """Class (-1: none) -> its photographs in val and in all."""
    is_val = draw(rows(classes), list(range(len(classes))), share)
    labels = [some or [-1] for some in classes]
    every = Counter(c for some in labels for c in some)
    val = Counter(c for some, in_val in zip(labels, is_val, strict=True) if in_val for c in some)
    return {c: (val[c], count) for c, count in every.items()}


def test_each_class_gives_its_share():
    classes = [[n % 3] for n in range(90)] + [[3]] * 10 + [[]] * 20 + [[4]] * 2
    assert share_of(classes, 0.2) == {0: (6, 30), 1: (6, 30), 2: (6, 30), 3: (2, 10),
                                      -1: (4, 20), 4: (0, 2)}  # fmt: skip


def test_photographs_of_several_classes_are_shared_out():
    drawn = np.random.default_rng(0)
    classes = [sorted({*drawn.choice(6, drawn.integers(1, 4)).tolist()}) for _ in range(400)]
    for val, every in share_of(classes, 0.25).values():
        assert abs(val / every - 0.25) < 0.03


def test_two_classes_of_eight_photographs():
    assert share_of([[0]] * 8 + [[1]] * 8, 0.2) == {0: (2, 8), 1: (2, 8)}


@given(
    st.lists(st.tuples(st.lists(st.integers(0, 3), unique=True), st.integers(0, 9))),
    st.floats(0, 0.9),
)
def test_a_group_stays_together(photographs, share):
    groups = [group for _, group in photographs]
    is_val = draw(rows([sorted(some) for some, _ in photographs]), groups, share)
    assert len(set(zip(groups, is_val, strict=True))) == len(set(groups))


def test_near_duplicates_are_joined_in_chains():
    assert near_duplicates([0b1111, 0, None, 0b11110000, None, 2**63 + 0xFFFF]) == [
        0,
        0,
        2,
        0,
        4,
        5,
    ]


def test_before_a_plain_background_only_equal_files_are_duplicates(tmp_path):
    files = [tmp_path / f"{number}.png" for number in range(8)]
    for number, file in enumerate(files):
        photo = Image.new("RGB", (160, 120), "white")
        photo.paste((20 * number, 0, 0), (18 * number, 40, 18 * number + 20, 50))
        photo.save(file)
    (tmp_path / "copy.png").write_bytes(files[0].read_bytes())
    hashes = [photo_hash(file, Dataset()) for file in [*files, tmp_path / "copy.png"]]
    assert near_duplicates(hashes) == [*range(8), 0]


@pytest.fixture
def folder(tmp_path):
    """Per class 20 photographs; of each fourth one a smaller copy, compressed more."""
    for name in CLASSES:
        (tmp_path / name).mkdir()
        for number in range(20):
            pixels = np.random.default_rng([number, len(name)]).integers(0, 255, (12, 12, 3))
            photo = Image.fromarray(pixels.astype(np.uint8)).resize((200, 160), Image.BICUBIC)
            photo.save(tmp_path / name / f"{number}.jpg", quality=95)
            if number % 4 == 0:
                copy = photo.resize((120, 96)).filter(ImageFilter.SHARPEN)
                copy.save(tmp_path / name / f"{number} copy.jpg", quality=60)
    return tmp_path


def drawn(folder: Path, **more) -> Listing:
    values = {"images": "", "masks": "", "train_list": "", "val_list": "", **more}
    dataset = Dataset(format="folders", root=str(folder), **values)
    return draw_splits(list_dataset(folder, dataset), folder, dataset, 2)


def ids(listing: Listing, split: str) -> list[str]:
    return [row.id for row in listing.splits[split]]


def test_copies_of_a_photograph_stay_on_one_side(folder):
    listing = drawn(folder)
    val = {*ids(listing, "val")}
    assert len(val) == 10 and not val & {*ids(listing, "train")}
    copies = [name for name in [*ids(listing, "train"), *val] if name.endswith(" copy")]
    assert len(copies) == 10
    assert all((name in val) == (name.removesuffix(" copy") in val) for name in copies)


def test_the_seed_decides_and_the_first_images_are_of_all_classes(folder):
    first = drawn(folder)
    assert drawn(folder) == first
    assert ids(drawn(folder, split_seed=1), "val") != ids(first, "val")
    assert len({*(row.classes[0] for row in first.splits["train"][:8])}) == 2


def test_a_broken_photograph_is_left_for_its_index(folder):
    (folder / CLASSES[0] / "0.jpg").write_bytes(b"x")
    assert len([*ids(drawn(folder), "train"), *ids(drawn(folder), "val")]) == 50


def test_a_val_that_cannot_be_drawn_is_a_problem(folder):
    for file in [*folder.rglob("*.jpg")]:
        if file.name not in ("1.jpg", "2.jpg"):
            file.unlink()
    (problem,) = drawn(folder).problems
    assert str(problem).startswith("dataset.val_share: 0.2: no val can be drawn from 4 photographs")
    assert not drawn(folder, val_share=0).problems


def test_a_class_too_small_for_val_is_named(folder):
    for file in [*(folder / CLASSES[1]).iterdir()][2:]:
        file.unlink()
    assert drawn(folder).warnings == [
        f"too few photographs of {CLASSES[1]} to draw one for val: not scored there"
    ]
