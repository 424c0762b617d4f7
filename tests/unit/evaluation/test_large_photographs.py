"""What is compared with the mask of a large photograph has the mask's size."""

import numpy as np
import pytest

from i2crc.config.schema import Evaluation, PseudoLabels
from i2crc.data.images import read_label, write_gray, write_label
from i2crc.data.index import Entry, Index, Original
from i2crc.evaluation.saliency_quality import measure_saliency
from i2crc.evaluation.scoring import score_stage
from i2crc.evaluation.submission import pack_submission
from i2crc.evaluation.sweeps import sweep
from i2crc.runtime.atomic import write_json
from i2crc.runtime.errors import InputError


@pytest.fixture
def large(tmp_path):
    """The index of a photograph of 12x9, worked on at 4x3, and manifests of its maps and label.

    The maps show the object of the mask.
    """
    shown = np.zeros((3, 4), np.uint8)
    shown[1:, 2:] = 255
    write_label(tmp_path / "mask.png", shown // 255, (12, 9))
    write_label(tmp_path / "label/a.png", shown // 255, (12, 9))
    write_gray(tmp_path / "cam/a_0.png", shown)
    write_gray(tmp_path / "saliency/a.png", shown)
    for folder, name in (("label", "a.png"), ("cam", "a_0.png"), ("saliency", "a.png")):
        write_json(tmp_path / f"{folder}.json", {"folder": folder, "files": {name: ""}})
    original = Original("photo.jpg", 12, 9, "")
    mask = str(tmp_path / "mask.png")
    entry = Entry("a", "copy.jpg", mask, [0], 4, 3, "", original=original)
    return Index("train", ["cat"], [entry]), tmp_path


def test_scores_are_of_the_pixels_of_the_photograph(large):
    index, folder = large
    for name in ("label", "cam"):
        manifests = [folder / f"{name}.json"]
        result, _ = score_stage(index, manifests, name == "cam", Evaluation(bootstrap=1), 1)
        assert result["confusion"] == [[72, 0, 0], [0, 36, 0]]
    quality = measure_saliency(index, [folder / "saliency.json"], 0.5, 1)
    assert (quality["iou"], quality["mae"]) == (1, 0)


def test_sweeps_compare_at_the_size_of_the_photograph(large):
    index, folder = large
    for section, name in ((Evaluation(), "cam_background"), (PseudoLabels(), "object_threshold")):
        maps = [folder / "cam.json"], [folder / "saliency.json"]
        found = sweep(section, name, [0.4], index, *maps, 1)
        assert found["fixed"]["miou"] == 1


def test_a_mask_of_the_working_size_does_not_fit(large):
    index, folder = large
    write_label(folder / "mask.png", read_label(folder / "mask.png"), (4, 3))
    for name in ("label", "cam"):
        with pytest.raises(InputError, match=r"size \(9, 12\), the ground truth has \(3, 4\)"):
            score_stage(index, [folder / f"{name}.json"], name == "cam", Evaluation(), 1)


def test_the_test_server_gets_labels_of_the_photograph(large):
    index, folder = large
    assert pack_submission(index, [folder / "label.json"])
    write_label(folder / "label/a.png", np.zeros((3, 4), np.uint8))
    with pytest.raises(InputError, match=r"size \(4, 3\), the photograph has \(12, 9\)"):
        pack_submission(index, [folder / "label.json"])
