"""Saliency networks are tried on some photographs before anything is computed."""

import numpy as np
import pytest
from PIL import Image

from helpers.onnx_file import write_mean
from i2crc.config.schema import SaliencyModel
from i2crc.data.index import Entry, Index
from i2crc.evaluation.network_checks import judge_saliency_model


def test_a_photograph_with_a_map_that_is_not_finite_is_a_problem(tmp_path):
    write_mean(tmp_path / "net.onnx")
    Image.new("RGB", (64, 64), "white").save(tmp_path / "white.png")
    entry = Entry("0", str(tmp_path / "white.png"), None, [0], 64, 64, "")
    model = SaliencyModel(path=str(tmp_path / "net.onnx"), input_size=64, std=[1e-39] * 3)
    (problem,), _ = judge_saliency_model(model, Index("train", ["cat"], [entry]))
    assert problem.file == entry.image
    assert problem.problem == "a saliency network's output is not finite"
    assert problem.remedy == "correct saliency.model"


@pytest.mark.parametrize("inverted", [False, True])
def test_a_network_that_marks_the_border_is_warned_of(tmp_path, inverted):
    """The network's map is the brightness of the photograph."""
    write_mean(tmp_path / "net.onnx")
    entries = []
    for number in range(20):
        pixels = np.full((64, 64, 3), 255 * inverted, np.uint8)
        pixels[16:48, 16:48] = 255 * (not inverted)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        path = str(tmp_path / f"{number}.png")
        entries.append(Entry(str(number), path, None, [0], 64, 64, ""))
    model = SaliencyModel(
        path=str(tmp_path / "net.onnx"), input_size=64, divide_by=255, mean=[0] * 3, std=[1] * 3
    )
    problems, warnings = judge_saliency_model(model, Index("train", ["cat"], entries))
    assert not problems
    assert ["the saliency maps mark 100% of the border" in text for text in warnings] == (
        [True] * inverted
    )
