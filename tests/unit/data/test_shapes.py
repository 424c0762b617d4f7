"""Masks from polygons and run lengths."""

import numpy as np

from i2crc.data.shapes import draw_mask


def region(segmentation, size=(4, 3)) -> list[list[int]]:
    return draw_mask([{"value": 1, "segmentation": segmentation}], size).tolist()


def test_a_polygon_holds_the_pixels_whose_centres_are_in_it():
    assert region([[1, 0, 3, 0, 3, 2, 1, 2]]) == [[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    assert region([[0.7, 0, 2.3, 0, 2.3, 1, 0.7, 1]]) == [[0, 1, 0, 0], [0] * 4, [0] * 4]


def test_a_polygon_may_leave_the_photograph():
    assert region([[2, 1, 9, 1, 9, 9, 2, 9]]) == [[0] * 4, [0, 0, 1, 1], [0, 0, 1, 1]]
    assert region([[-9, -9, -1, -9, -1, -1]]) == [[0] * 4] * 3


def test_run_lengths_go_down_the_columns():
    expected = [[0, 1, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0]]
    assert region({"size": [3, 4], "counts": [2, 3, 7]}) == expected
    assert region({"size": [3, 4], "counts": "237"}) == expected


def test_large_and_shrinking_runs_of_the_compressed_form():
    """The fourth number is written as the difference from the second: 40 and 33 as 40, -7."""
    counts = [100, 40, 20, 33, 7]
    text = "T3" + "X1" + "d0" + "I" + "C"
    found = draw_mask([{"value": 1, "segmentation": {"size": [20, 10], "counts": text}}], (10, 20))
    expected = np.repeat(np.arange(5) % 2, counts).reshape(10, 20).T
    assert np.array_equal(found, expected)
