"""Masks from polygons and run lengths."""

import subprocess
import sys

import numpy as np
import pytest

from i2crc.data import shapes
from i2crc.data.shapes import draw_mask


def region(segmentation, size=(4, 3)) -> list[list[int]]:
    return draw_mask([{"value": 1, "segmentation": segmentation}], size).tolist()


def test_a_polygon_holds_the_pixels_whose_centres_are_in_it():
    assert region([[1, 0, 3, 0, 3, 2, 1, 2]]) == [[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    assert region([[0.7, 0, 2.3, 0, 2.3, 1, 0.7, 1]]) == [[0, 1, 0, 0], [0] * 4, [0] * 4]


@pytest.mark.parametrize("area", [{}, {"area": 0}, {"area": None}])
def test_the_smaller_object_covers_the_larger_one_without_areas_as_well(area):
    small, large = [[1, 1, 2, 1, 2, 2, 1, 2]], [[0, 0, 4, 0, 4, 3, 0, 3]]
    shapes = [
        {"value": value, "segmentation": segmentation, **area}
        for value, segmentation in ((1, small), (2, large))
    ]
    expected = [[2, 2, 2, 2], [2, 1, 2, 2], [2, 2, 2, 2]]
    assert draw_mask(shapes, (4, 3)).tolist() == expected


def test_a_polygon_may_leave_the_photograph():
    assert region([[2, 1, 9, 1, 9, 9, 2, 9]]) == [[0] * 4, [0, 0, 1, 1], [0, 0, 1, 1]]
    assert region([[-9, -9, -1, -9, -1, -1]]) == [[0] * 4] * 3


def test_a_polygon_is_the_same_in_bands_of_rows(monkeypatch):
    generator = np.random.default_rng(0)
    for scale in (1, 40):
        polygons = [(generator.uniform(-0.5, 1.5, (7, 2)) * scale * (4, 3)).ravel().tolist()]
        whole = region(polygons, (4 * scale, 3 * scale))
        with monkeypatch.context() as context:
            context.setattr(shapes, "BAND", 11 * scale)
            assert region(polygons, (4 * scale, 3 * scale)) == whole


def test_a_polygon_in_a_large_photograph_takes_little_memory():
    code = (
        "import resource; from i2crc.data.shapes import draw_mask;"
        "used = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; before = used();"
        "polygon = [1, 1, 3999, 1, 3999, 2999, 1, 2999];"
        "mask = draw_mask([{'value': 1, 'segmentation': [polygon]}], (4000, 3000));"
        "assert mask.sum() == 3998 * 2998; print(used() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 100 * 1024  # KiB; the mask and the region have 12 MiB each


@pytest.mark.parametrize("far", [1e10, -1e10, 41])
def test_a_coordinate_far_outside_is_refused(far):
    region([[0, 0, 40, 0, 40, -40]])
    with pytest.raises(ValueError, match=r"a coordinate is -?(1e\+10|10+|41), far outside a photo"):
        region([[0, 0, far, 0, 3, 3]])


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
