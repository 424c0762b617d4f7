"""What preflight says of the meaning of the data: masks, classes, splits, saliency maps."""

from i2crc.data.index import Entry, Index
from i2crc.evaluation.data_checks import check_masks, check_saliency, check_splits

NAMES = ["cat", "dog", "cow"]
BINARY = "if every value but 0 means its photograph's one class, set dataset.binary_masks: true; "


def index(*images: tuple[list[int] | None, list[int] | None], split="val", names=NAMES) -> Index:
    """An index of images, each given by its classes and the values of its mask."""
    entries = [
        Entry(str(n), "", None if v is None else f"masks/{n}.png", c, 1, 1, "", mask_values=v)
        for n, (c, v) in enumerate(images)
    ]
    return Index(split, names, entries)


def problem(*images, **options) -> str:
    (found,), warnings = check_masks(index(*images, **options))
    assert not warnings
    return str(found)


def warning(*images, **options) -> str:
    problems, (found,) = check_masks(index(*images, **options))
    assert not problems
    return found


def test_masks_with_the_classes_of_their_photographs():
    good = ([0], [0, 1, 255]), ([1, 2], [0, 2]), ([2], [0, 1, 3]), ([1], None), (None, [0])
    assert check_masks(index(*good)) == ([], [])
    assert check_masks(index(([0], [0, 1]), (None, [0, 1]), names=["cat"])) == ([], [])


def test_masks_of_0_and_255_mean_something_else():
    said = "masks: 2 of 2 masks of val do not fit their photograph's classes; 0.png holds 0, 255,"
    cure = f"; {BINARY}else save class number + 1 as the values of a mask"
    shown = " but its photograph shows cat (value 1)"
    assert problem(([0], [0, 255]), ([1], [0, 255])) == f"{said}{shown}{cure}"
    assert problem(([0], [0, 255]), ([1], [0])) == f"{said}{shown}{cure}"
    unknown = " but 0 is background and 255 is ignored"
    assert problem((None, [0, 255]), (None, [0, 255])) == f"{said}{unknown}{cure}"


def test_masks_without_background_are_a_problem():
    said = "masks: no mask of val has the value 0, so that no background is scored; save the "
    assert problem(([0], [1, 255]), ([1], [2, 255])).startswith(said)
    assert check_masks(index(([0], [1, 255]), ([1], [0, 2]))) == ([], [])


def test_masks_of_0_and_1_for_other_classes_mean_something_else():
    images = [([0], [0, 1])] * 7 + [([1], [0, 1])]
    said = "1 of 8 masks of val do not fit their photograph's classes; 7.png holds 0, 1, but its "
    assert problem(*images).startswith(f"masks: {said}photograph shows dog (value 2); {BINARY}")
    # That the list does not say which class they show proves nothing.
    only = warning((None, [0, 1]), (None, [0, 1, 255]))
    assert only == f"all masks of val show cat alone, as value 1; {BINARY}else ignore this"


def test_most_masks_of_other_classes_are_a_problem_and_few_a_warning():
    # Numbered from 0: no cat is in its mask, dog is called cat.
    found = problem(([0], [0]), ([1, 2], [0, 1, 4]), ([1, 2], [0, 1, 2]), split="train")
    assert "2 of 3 masks of train do not fit" in found
    assert "0.png holds 0, but its photograph shows cat (value 1); save class number + 1" in found
    few = warning(([0], [0, 255]), ([1], [0, 2]), ([2], [0, 3]))
    assert few == (
        "masks: 1 of 3 masks of val do not fit their photograph's classes (0.png): 0.png holds 0, "
        "255, but its photograph shows cat (value 1); they are scored as they are"
    )


def test_masks_of_photographs_without_a_class_are_background():
    good = ([0], [0, 1]), ([1], [0, 2])
    assert check_masks(index(*good, ([], [0]), ([], [0, 255]))) == ([], [])
    assert check_masks(index(([0], None), ([], [0]))) == ([], [])
    said = warning(*good, ([], [0, 1]), names=["cat", "dog"])
    assert said == (
        "masks: 1 of 3 masks of val do not fit their photograph's classes (2.png): 2.png holds 0, "
        "1, but its photograph has no class; they are scored as they are"
    )
    assert "0.png holds 0, 3, but its photograph has no class" in problem(([], [0, 3]), ([2], None))
    # As labels_from: masks would read masks of 0 and 255.
    assert "holds 0, 255, but 0 is background" in problem(([], [0, 255]), ([], [0, 255]))


def splits(train: list[int], val: list[list[int] | None], mask: list[int] | None) -> list[str]:
    """The warnings of splits, given by photographs per class, and by the classes of photographs."""
    images = [([c], None) for c, count in enumerate(train) for _ in range(count)]
    found = {
        "train": index(*images, split="train"),
        "val": index(*((classes, mask) for classes in val)),
    }
    return check_splits(found, has_masks=True)


def test_splits_that_say_something():
    assert splits([5, 5, 9], [[0], [1]] * 10, [0]) == []


def test_classes_that_cannot_be_learnt_are_named():
    assert splits([9, 0, 0], [[0], [1]] * 10, [0]) == [
        "train has no photograph of dog, but val has: they cannot be learnt, so their IoU in val "
        "will be 0",
        "train has no photograph of cow: they cannot be learnt",
    ]
    (from_masks,) = splits([9, 9, 0], [None] * 20, [0, 3])
    assert from_masks.startswith("train has no photograph of cow, but val has")
    assert splits([4, 5, 1], [[0]] * 20, [0]) == [
        "train has fewer than 5 photographs of cat (4), cow (1): too few to learn from"
    ]


def test_a_split_that_can_hardly_be_scored():
    assert splits([5, 5, 5], [[0]] * 19, [0]) == [
        "val has 19 images with a mask: with fewer than 20, the 95 % intervals of its scores are "
        "too narrow by about a tenth or more"
    ]
    assert splits([5, 5, 5], [[0]] * 30, None) == [
        "none of the 30 images of val has a mask: no scores"
    ]
    # Without masks nobody expects scores; a published checkpoint is evaluated without training.
    assert check_splits({"val": index(([0], None))}, has_masks=False) == []


def test_a_data_set_without_validation_images_has_no_scores_on_them():
    (warning,) = check_splits(
        {"train": index(*[([c], None) for c in (0, 1, 2)] * 5, split="train")}, True
    )
    assert warning.startswith("nothing was scored on val, because the data set has no validation")


GOOD = {
    "count": 9,
    "compared": 8,
    "constant": [],
    "without_overlap": ["a.png"] * 2,
    "salient_objects": 0.6,
    "salient_background": 0.1,
}


def saliency(**facts) -> list[str]:
    return check_saliency({**GOOD, **facts})


def test_saliency_that_shows_the_objects():
    assert saliency() == []
    unknown = {"salient_objects": 0.0, "salient_background": 0.0}
    assert saliency(compared=0, without_overlap=[], **unknown) == []


def test_saliency_that_does_not():
    (constant,) = saliency(count=99, constant=[f"{n}.png" for n in range(12)])
    assert constant.startswith(
        "12 of 99 saliency maps have the same value everywhere, so they show"
    )
    assert constant.endswith(": 0.png, 1.png, 2.png, 3.png, 4.png, 5.png, 6.png, 7.png, 8.png, "
                             "9.png and 2 more")  # fmt: skip
    assert check_saliency({**GOOD, "constant": ["a.png"]}, negatives={"a.png"}) == []
    (missed,) = saliency(without_overlap=["a.png", "b.png", "c.png"])
    assert missed == (
        "3 of 8 saliency maps are salient nowhere on the mask's objects, a.png, b.png, c.png: "
        "check that they are of these photographs"
    )
    (inverted,) = saliency(salient_objects=0.2, salient_background=0.7)
    assert inverted == (
        "the saliency maps mark 20% of the objects' pixels and 70% of the background: check that "
        "they are not inverted (255 = salient)"
    )
