"""What preflight says of the meaning of the data: masks, classes, splits, saliency maps."""

from dataclasses import replace
from pathlib import Path

from i2crc.data.index import Entry, Index
from i2crc.evaluation.data_checks import check_dev, check_masks, check_saliency, check_splits

NAMES = ["cat", "dog", "cow"]
MASKS = Path("masks")
BINARY = "if every value but 0 means its photograph's one class, set dataset.binary_masks: true; "


def index(*images: tuple[list[int] | None, list[int] | None], split="val", names=NAMES) -> Index:
    """An index of images, each given by its classes and the values of its mask."""
    entries = [
        Entry(str(n), "", None if v is None else f"masks/{n}.png", c, 1, 1, "", mask_values=v)
        for n, (c, v) in enumerate(images)
    ]
    return Index(split, names, entries)


def problem(*images, **options) -> str:
    (found,), warnings = check_masks(index(*images, **options), MASKS)
    assert not warnings
    return str(found)


def warning(*images, **options) -> str:
    problems, (found,) = check_masks(index(*images, **options), MASKS)
    assert not problems
    return found


def test_masks_with_the_classes_of_their_photographs():
    good = ([0], [0, 1, 255]), ([1, 2], [0, 2]), ([2], [0, 1, 3]), ([1], None), (None, [0])
    assert check_masks(index(*good), MASKS) == ([], [])
    assert check_masks(index(([0], [0, 1]), (None, [0, 1]), names=["cat"]), MASKS) == ([], [])


def test_masks_of_0_and_255_mean_something_else():
    said = "masks: 2 of 2 masks of val do not fit their photograph's classes; 0.png holds 0, 255,"
    cure = f"; {BINARY}else save class number + 1 as the values of a mask"
    shown = " but its photograph shows cat (value 1)"
    assert problem(([0], [0, 255]), ([1], [0, 255])) == f"{said}{shown}{cure}"
    assert problem(([0], [0, 255]), ([1], [0])) == f"{said}{shown}{cure}"
    # Without a class in the list, the setting alone would not do.
    unknown = " but 0 is background and 255 is ignored"
    cure = cure.replace("set dataset", "name it in the list and set dataset")
    assert problem((None, [0, 255]), (None, [0, 255])) == f"{said}{unknown}{cure}"


def test_masks_that_cannot_be_binary_get_no_hint_on_them():
    for values in ([0, 1, 2], [0, 1, 255]):
        assert "binary_masks" not in problem(([2], values), ([2], [0, 1]))
    assert "binary_masks" not in problem(([1, 2], [0, 255]), ([1], [0, 255]))


def test_values_beyond_the_classes_are_one_problem():
    images = [([0], [0, 38]), ([1], [0, 75]), ([1], [0, 4]), ([2], [0, 9]), ([2], [0, 9])]
    said = "masks: value 4, 9, 38, 75 in 5 of 5 masks of val (0.png, 1.png, 2.png and 2 more), but "
    remedy = "use 0 for background, 1 to 3 for classes, 255 for ignored pixels"
    assert problem(*images) == f"{said}the data set has 3 classes; {BINARY}else {remedy}"
    # Other masks hold several values, so they are not binary.
    proper = ([1], [0, 2, 255])
    said = "masks: value 38 in 1 of 2 masks of val (1.png), but the data set has 3 classes; "
    assert problem(proper, ([0], [0, 38])) == f"{said}{remedy}"
    one = problem(([0], [0, 1, 255]), ([0], [0, 2]), names=["cat"])
    assert one.endswith(
        "has 1 class; use 0 for background, 1 for the class, 255 for ignored pixels"
    )
    # The masks with the other classes are judged, too.
    both = index(proper, ([0], [0, 38]), ([0], [0, 2, 255]), ([0], [0, 2, 255]))
    (_, shown), _ = check_masks(both, MASKS)
    assert "2 of 3 masks of val do not fit their photograph's classes; 2.png" in str(shown)


def test_masks_without_background_are_a_problem():
    said = "masks: no mask of val has the value 0, so that no background is scored; save the "
    assert problem(([0], [1, 255]), ([1], [2, 255])).startswith(said)
    assert check_masks(index(([0], [1, 255]), ([1], [0, 2])), MASKS) == ([], [])


def test_masks_of_0_and_1_for_other_classes_mean_something_else():
    images = [([0], [0, 1])] * 7 + [([1], [0, 1])]
    said = "1 of 8 masks of val does not fit their photograph's classes; 7.png holds 0, 1, but its "
    assert problem(*images).startswith(f"masks: {said}photograph shows dog (value 2); {BINARY}")
    # That the list does not say which class they show proves nothing.
    only = warning((None, [0, 1]), (None, [0, 1, 255]))
    said = "masks: all masks of val show cat alone, as value 1; "
    assert only == f"{said}ignore this if it is right"
    cure = BINARY.replace("set dataset", "name it in the list and set dataset")
    assert warning((None, [0, 1])) == f"{said}{cure}else ignore this if it is right"


def test_most_masks_of_other_classes_are_a_problem_and_few_a_warning():
    # Numbered from 0: no cat is in its mask, dog is called cat.
    found = problem(([0], [0]), ([1, 2], [0, 1]), ([1, 2], [0, 1, 2]), split="train")
    assert "2 of 3 masks of train do not fit" in found
    assert "0.png holds 0, but its photograph shows cat (value 1); save class number + 1" in found
    few = warning(([0], [0, 255]), ([1], [0, 2]), ([2], [0, 3]))
    assert few == (
        "masks: 1 of 3 masks of val does not fit their photograph's classes (0.png); 0.png holds "
        "0, 255, but its photograph shows cat (value 1); correct them or the list, else they are "
        "scored as they are"
    )


def test_a_class_that_none_of_its_masks_shows_is_named():
    dog = ([1], [0, 3, 255])
    assert warning(*[([0], [0, 1])] * 9, dog, ([0, 1], [0, 1]), dog, dog) == (
        "masks: no mask of the 4 photographs of dog in val has its value, 2; they (9.png, 10.png, "
        "11.png and 1 more) hold 0, 1, 3, 255; save dog as 2 in them"
    )
    _, (of_dog, other) = check_masks(index(*[([0], [0, 1])] * 9, dog, dog, ([2], [0, 1])), MASKS)
    assert "no mask of the 2 photographs of dog" in of_dog
    assert "1 of 12 masks of val does not fit their photograph's classes (11.png)" in other


def test_binary_masks_without_an_object_are_named_by_the_file_of_the_user():
    images = index(([0], [0, 1]), ([0], [0, 1]), ([1], [0]), ([1], [0]))
    _, (warning,) = check_masks(images, Path("data/masks"))
    assert warning == (
        "data/masks: no mask of the 2 photographs of dog in val has its value, 2; they (2.png, "
        "3.png) hold 0; give the object another value than 0 in them"
    )
    (problem,), _ = check_masks(index(([0], [0]), ([1], [0])), Path("data/masks"))
    assert str(problem).endswith(
        "shows cat (value 1); give the object another value than 0 in them"
    )


def test_masks_of_photographs_without_a_class_are_background():
    good = ([0], [0, 1]), ([1], [0, 2])
    assert check_masks(index(*good, ([], [0]), ([], [0, 255])), MASKS) == ([], [])
    assert check_masks(index(([0], None), ([], [0])), MASKS) == ([], [])
    said = warning(*good, ([], [0, 1]), names=["cat", "dog"])
    assert said == (
        "masks: 1 of 3 masks of val does not fit their photograph's classes (2.png); 2.png holds "
        "0, 1, but its photograph has no class; correct them or the list, else they are scored as "
        "they are"
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
        "train has no photograph of dog, but val has: what is not learnt has an IoU of 0 in val",
        "train has no photograph of cow, so it learns nothing of it",
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
    assert splits([5, 5, 5], [[0]], [0])[0].startswith("val has 1 image with a mask: ")
    assert splits([5, 5, 5], [[0]] * 30, None) == ["no image of val has a mask: no scores"]
    # Without masks nobody expects scores; a published checkpoint is evaluated without training.
    assert check_splits({"val": index(([0], None))}, has_masks=False) == []


def test_a_data_set_without_validation_images_has_no_scores_on_them():
    (warning,) = check_splits(
        {"train": index(*[([c], None) for c in (0, 1, 2)] * 5, split="train")}, True
    )
    assert warning.startswith("nothing was scored on val, because the data set has no validation")


def test_photographs_of_dev_have_masks_and_are_in_no_other_list():
    images = [
        replace(entry, id=name, image=f"{name}.jpg", sha256=name)
        for name, entry in zip("abcde", index(*[([0], [0, 1])] * 5).images, strict=True)
    ]
    a, b, c, d, e = images
    found = {"train": Index("train", NAMES, [a]), "val": Index("val", NAMES, [b, c])}
    assert check_dev(found) == []
    assert check_dev({**found, "dev": Index("dev", NAMES, [d, e])}) == []
    dev = [a, replace(d, sha256="c"), replace(e, mask=None)]
    remedy = "take it out of one of the two: photographs of dev only choose the weights"
    assert [*map(str, check_dev({**found, "dev": Index("dev", NAMES, dev)}))] == [
        "e.jpg: in dataset.dev_list, but without a mask; add its mask (dataset.masks), or take it "
        "out of dataset.dev_list",
        f"a.jpg: in dataset.dev_list, and in train, too; {remedy}",
        f"d.jpg: in dataset.dev_list, and in val as c.jpg, too; {remedy}",
    ]


GOOD = {
    "source": "maps.zip",
    "maximum": 255,
    "count": 9,
    "compared": 8,
    "constant": [],
    "without_overlap": ["a.png"] * 2,
    "salient_objects": 0.6,
    "salient_background": 0.1,
    "salient_border": 0.1,
    "salient_centre": 0.5,
    "masked_border": 0.1,
}


def saliency(**facts) -> list[str]:
    problems, warnings = check_saliency({**GOOD, **facts})
    assert not problems
    return warnings


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
    assert check_saliency({**GOOD, "constant": ["a.png"]}, negatives={"a.png"}) == ([], [])
    (missed,) = saliency(without_overlap=["a.png", "b.png", "c.png"])
    assert missed == (
        "3 of 8 saliency maps are salient nowhere on the mask's objects, a.png, b.png, c.png: "
        "check that they are of these photographs"
    )


def test_saliency_maps_of_0_and_1():
    (problem,), warnings = check_saliency({**GOOD, "maximum": 1, "constant": ["a.png"]})
    assert not warnings
    assert str(problem) == (
        "maps.zip: no saliency map has a value above 1, so that nothing is salient; save the maps "
        "with 255 in place of 1 (0 = background, 255 = salient)"
    )


def test_masks_or_maps_that_are_inverted():
    facts = {"salient_objects": 0.2, "salient_background": 0.7, "masked_border": 0.9}
    # An inverted map may also miss its object, which is no warning of its own.
    (inverted,) = saliency(**facts, without_overlap=["a.png"] * 8)
    assert inverted == (
        "the saliency maps mark 20% of the objects in the masks and 70% of the background: either "
        "the maps are inverted (255 = salient), or objects and background are swapped in the "
        "masks; objects are rare at the border of photographs, where the maps mark 10% of the "
        "pixels and the masks 90%"
    )


def test_inverted_maps_without_masks():
    unknown = {"compared": 0, "without_overlap": []}
    unknown |= {"salient_objects": 0.0, "salient_background": 0.0}
    assert saliency(**unknown, salient_border=0.92, salient_centre=0.52) == [
        "the saliency maps mark 92% of the border of the photographs and 52% of their centre: "
        "check that they are not inverted (255 = salient)"
    ]
    # Objects that fill their photograph; maps that agree with the masks.
    assert saliency(**unknown, salient_border=0.7, salient_centre=0.9) == []
    assert saliency(salient_border=0.92, salient_centre=0.52) == []
