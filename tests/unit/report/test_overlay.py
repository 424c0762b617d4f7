"""The overlay: the photograph under the colours of its classes, and the legend."""

import numpy as np
from PIL import Image

from i2crc.inference.model import Area, Prediction
from i2crc.report.overlay import LEGEND, share_text, write_overlay


def test_it_has_a_legend_of_the_classes_in_it(tmp_path):
    label = np.zeros((60, 800), np.uint8)  # twice the working size
    label[:, 400:] = 2
    half = Area(24_000, 0.5)
    colors = np.array([[0, 0, 0], [1, 2, 3], [40, 120, 200]], np.uint8)
    areas, confidence = {"background": half, "dog": half}, {"background": 0.9, "dog": 0.8}
    prediction = Prediction(label, areas, confidence, ["cat", "dog"], colors)
    write_overlay(tmp_path / "o.png", np.full((30, 400, 3), 255, np.uint8), prediction)
    with Image.open(tmp_path / "o.png") as image:
        pixels = np.asarray(image)
    assert pixels[10, 10].tolist() == [255, 255, 255]
    assert np.abs(pixels[10, 300].astype(int) - [147, 187, 227]).max() <= 1
    boxes = pixels[34 + 8, [8, LEGEND + 8]]
    assert boxes.tolist() == [[40, 120, 200], [255, 255, 255]]  # dog alone


def test_a_small_share_is_not_called_nothing():
    assert [share_text(share) for share in (0.001, 0.014, 0.5, 1.0)] == ["<1%", "1%", "50%", "100%"]
