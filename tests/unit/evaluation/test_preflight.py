"""Preflight: the report, the estimate of disk, networks and checkpoints that do not fit."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from i2crc.config.schema import Classifier, Segmentation, Weights
from i2crc.data.index import Entry, Index
from i2crc.evaluation import disk, preflight
from i2crc.evaluation.network_checks import checkpoint_problems, network_problems
from i2crc.inference.prediction import load_published
from i2crc.models.deeplab import build_segmentation
from i2crc.runtime.errors import FileError, InputError, Problem

LITE = {"backbone": "efficientnet_lite0", "output_stride": 32, "weights": Weights(source="random")}


def entry(classes: list[int], mask: str | None = None) -> Entry:
    return Entry("a", "a.jpg", mask, classes, 100, 50, "1")


def problem(number: int) -> Problem:
    return Problem(f"{number}.jpg", "missing", "add it")


def test_report_shows_the_first_and_keeps_all(tmp_path):
    file = tmp_path / "problems.txt"
    problems = [*map(problem, range(70)), problem(3)]
    with pytest.raises(InputError) as caught:
        preflight.report(problems, file)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("70 problems to fix before the run can start")
    assert str(file) in lines[0]
    assert lines[1] == "  0.jpg: missing; add it"
    assert lines[-1] == "  ... and 20 more"
    assert len(lines) == 52
    assert file.read_text().splitlines() == [str(one) for one in problems[:70]]
    preflight.report([], file)
    assert not file.exists()


def test_report_of_names_that_are_no_text(tmp_path):
    with pytest.raises(InputError, match="1 problem to fix"):
        preflight.report([Problem("\udcff.jpg", "missing", "add it")], tmp_path / "problems.txt")
    assert (tmp_path / "problems.txt").read_text() == "\\udcff.jpg: missing; add it\n"


def test_problems_are_read_from_what_recorded_them(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"problems": [vars(problem(1))], "leaks": []}))
    assert preflight.recorded(tmp_path / "a.json") == [problem(1)]
    assert preflight.recorded(tmp_path / "a.json", "leaks") == []
    for content in ("{}", '{"problems": [{}]}', "[]"):
        (tmp_path / "a.json").write_text(content)
        with pytest.raises(InputError, match=r"a\.json: holds no list of problems"):
            preflight.recorded(tmp_path / "a.json")


def test_masks_that_are_needed(tmp_path):
    index = Index("train", ["cat"], [entry([0]), entry([0], "a.png")])
    assert not preflight.masks_problems([index], tmp_path, needed=False)
    assert not preflight.masks_problems([index], None, needed=False)
    (missing,) = preflight.masks_problems([index], tmp_path, needed=True)
    assert str(missing).startswith(f"{tmp_path}/a.png: missing, and segmentation.supervision is fu")
    (missing,) = preflight.masks_problems([index], tmp_path / "none", needed=False)
    assert "no such folder; correct dataset.masks" in str(missing)


def test_estimate_of_an_image():
    # Logits of 3 labels at stride 8: 13 x 7.
    predicted = 2 * (5000 * 0.05 + 4096) + 3 * 13 * 7 * 2 + 4096
    assert disk.predicted_bytes(entry([0]), 3, 8) == predicted
    # A saliency map, attention of two classes, two labels.
    made = 3 * (5000 * 0.4 + 4096) + 2 * (5000 * 0.05 + 4096) + predicted
    assert disk.training_image_bytes(entry([0, 1]), 3, 8) == made
    # The weights, and two checkpoints of weights and momenta.
    assert disk.training_bytes(10, "sgd") == 4 * 10 * (1 + 2 * 2)
    assert disk.training_bytes(10, "adamw") == 4 * 10 * (1 + 2 * 3)


def test_plan_of_a_run():
    indexes = [Index("train", ["cat"], [entry([0])] * 3), Index("val", ["cat"], [entry([0])])]
    networks = {"classifier": Classifier(**LITE), "segmentation": Segmentation(**LITE)}
    planned = disk.planned_bytes(indexes, networks, {"classifier": 5, "segmentation": 7})
    assert planned == {
        "images of train": 3 * round(disk.training_image_bytes(entry([0]), 2, 32)),
        "images of val": round(disk.predicted_bytes(entry([0]), 2, 32)),
        "training of classifier": disk.training_bytes(5, "sgd"),
        "training of segmentation": 2 * disk.training_bytes(7, "sgd"),
    }
    full = {"segmentation": Segmentation(**LITE, supervision="full")}
    assert list(disk.planned_bytes(indexes, full, {"segmentation": 7})) == [
        "images of val",
        "training of segmentation",
    ]


def test_disk_counts_what_is_already_there(tmp_path):
    free = preflight.shutil.disk_usage(tmp_path).free
    (missing,) = preflight.disk_problems(tmp_path, 2 * free + (1 << 30))
    assert "are free; make room, or put the results elsewhere" in str(missing)
    (tmp_path / "cams/maps").mkdir(parents=True)
    (tmp_path / "cams/maps/a.png").write_bytes(bytes(1000))
    assert disk.bytes_there(tmp_path) == 1000
    assert not preflight.disk_problems(tmp_path, 1000)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weights": {"source": "file", "name": "none.pth"}}, "none.pth: no such weight file; see"),
        ({"weights": {"source": "package", "name": "none"}}, "package 'none' is not installed"),
        ({"backbone": "vgg61"}, "not a timm model"),
    ],
)
def test_networks_that_cannot_be_had(settings, message):
    for network in (Classifier, Segmentation):
        given = network.model_validate({**LITE, **settings})
        _, (found,) = network_problems("it", given, 3)
        assert message in str(found)
        assert str(found).endswith("see the settings of it")


def test_weights_of_another_network(tmp_path):
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "w.pth")
    weights = Weights(source="file", name=str(tmp_path / "w.pth"))
    count, (found,) = network_problems("it", Classifier(**LITE | {"weights": weights}), 3)
    assert "not weights of this backbone" in str(found)
    assert count > 1_000_000


def test_checkpoint_of_other_classes(tmp_path):
    settings = Segmentation(**LITE)
    torch.save(build_segmentation(settings, 4).state_dict(), tmp_path / "c.pth")
    with pytest.raises(FileError, match=r"c\.pth: its network has 4 classes, the data set"):
        load_published(tmp_path / "c.pth", settings, 3)
    load_published(tmp_path / "c.pth", settings, 4)
    assert not checkpoint_problems("https://localhost/c.pth", settings, 3)
    for source in (str(tmp_path / "c.pth"), (tmp_path / "c.pth").as_uri()):
        assert len(checkpoint_problems(source, settings, 3)) == 1
    (found,) = checkpoint_problems(str(Path(tmp_path, "none.pth")), settings, 3)
    assert "no such weight file" in str(found)
