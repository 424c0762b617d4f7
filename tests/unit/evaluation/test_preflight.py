"""Preflight: the report, the estimate of disk, networks and checkpoints that do not fit."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from i2crc.config.schema import Classifier, Segmentation, Weights
from i2crc.data.index import Entry, Index
from i2crc.evaluation import preflight
from i2crc.evaluation.network_checks import check_network, checkpoint_problems
from i2crc.inference.prediction import load_published
from i2crc.models.deeplab import build_segmentation
from i2crc.runtime.errors import FileError, InputError, Problem

LITE = {"backbone": "efficientnet_lite0", "output_stride": 32, "weights": Weights(source="random")}


def entry(classes: list[int], mask: str | None = None) -> Entry:
    return Entry("a", "a.jpg", mask, classes, 100, 50, "1")


def problem(number: int) -> Problem:
    return Problem(f"{number}.jpg", f"{number} pixels", "add it")


def test_report_shows_the_first_and_keeps_all(tmp_path):
    file = tmp_path / "problems.txt"
    problems = [*map(problem, range(70)), problem(3)]
    with pytest.raises(InputError) as caught:
        preflight.report(problems, file)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("70 problems to fix before the run can start")
    assert str(file) in lines[0]
    assert lines[1] == "  0.jpg: 0 pixels; add it"
    assert lines[-1] == "  ... and 20 more"
    assert len(lines) == 52
    assert file.read_text().splitlines() == [str(one) for one in problems[:70]]
    preflight.report([], file)
    assert not file.exists()


def test_report_says_equal_problems_once(tmp_path):
    file = tmp_path / "problems.txt"
    equal = [Problem(f"{number}.png", "mode RGB", "save it as grey") for number in range(60)]
    few = [Problem(f"{number}.jpg", "missing", "add it") for number in range(3)]
    with pytest.raises(InputError, match="64 problems to fix") as caught:
        preflight.report([problem(0), equal[0], *few, *equal], file)
    assert str(caught.value).splitlines()[1:] == [
        "  0.jpg: 0 pixels; add it",
        "  each of 60 (0.png, 1.png, 2.png and 57 more): mode RGB; save it as grey",
        *(f"  {one}" for one in few),
    ]
    assert len(file.read_text().splitlines()) == 64


def test_report_of_names_that_are_no_text(tmp_path):
    with pytest.raises(InputError, match="1 problem to fix"):
        preflight.report([Problem("\udcff.jpg", "missing", "add it")], tmp_path / "problems.txt")
    assert (tmp_path / "problems.txt").read_text() == "\\udcff.jpg: missing; add it\n"


def test_masks_that_are_needed(tmp_path):
    index = Index("train", ["cat"], [entry([0]), entry([0], "a.png")])
    assert not preflight.masks_problems([index], tmp_path, needed=False)
    assert not preflight.masks_problems([index], None, needed=False)
    (missing,) = preflight.masks_problems([index], tmp_path, needed=True)
    assert str(missing).startswith(f"a.jpg: has no mask in {tmp_path}, and segmentation.supervisio")
    (missing,) = preflight.masks_problems([index], tmp_path / "none", needed=False)
    assert "no such folder; correct dataset.masks" in str(missing)


def test_relabelled_photographs_whose_masks_are_learnt_from(tmp_path):
    """A mask that does not show the corrected classes would teach the others."""
    names = {"fits": [0, 1, 255], "other": [0, 2], "more": [0, 1, 2], "none": None}
    images = [
        replace(entry([0], values and "m.png"), id=name, image=f"{name}.jpg", mask_values=values)
        for name, values in names.items()
    ]
    index = Index("train", ["cat", "dog"], images, corrections={"relabel": dict.fromkeys(names)})
    assert not preflight.masks_problems([index], tmp_path, needed=False)
    found = preflight.masks_problems([index], tmp_path, needed=True)
    assert [problem.file for problem in found] == ["other.jpg", "more.jpg", "none.jpg"]
    assert str(found[0]) == (
        "other.jpg: has no mask of its corrected classes, and segmentation.supervision is full; "
        "correct the mask, or exclude the photograph in dataset.corrections"
    )


def test_estimate_of_an_image():
    val, train = (Index(split, ["cat", "dog"], []) for split in ("val", "train"))
    # Logits of 3 labels at stride 8.
    predicted = 2 * (5000 * 0.05 + 4096) + 3 * 5000 / 64 * 2 + 4096
    assert preflight.image_bytes(entry([0]), val, 8) == pytest.approx(predicted)
    # A saliency map, attention of two classes, two labels; tiles, copy and doubt of the gallery.
    made = 3 * (5000 * 0.55 + 4096) + 2 * (5000 * 0.05 + 4096) + predicted
    made += 60_000 + 4096 + 5000 * 0.4 + 4096 + 4096
    assert preflight.image_bytes(entry([0, 1]), train, 8) == pytest.approx(made)
    with_mask = preflight.image_bytes(entry([0, 1], "a.png"), train, 8)
    assert with_mask == pytest.approx(made + 5000 * 0.05 + 4096)


def test_plan_of_a_run():
    train, val = (Index(split, ["cat"], [entry([0])] * 3) for split in ("train", "val"))
    adamw = {"optimizer": {"name": "adamw"}}
    networks = {"classifier": Classifier(**LITE, **adamw), "segmentation": Segmentation(**LITE)}
    plan = preflight.planned_bytes([train, val], networks, {"classifier": 5, "segmentation": 7})
    assert plan == {
        "images of train": round(3 * preflight.image_bytes(entry([0]), train, 32)),
        "images of val": round(3 * preflight.image_bytes(entry([0]), val, 32)),
        # In the folder of a run, published, and those of the final network in the model file.
        "weights of classifier": 4 * 5 * 2,
        "weights of segmentation": 4 * 7 * (2 * 2 + 1),
        # Two of weights and moments; those of the classifier are larger.
        "checkpoints, until a training ends": 2 * 4 * 5 * 3,
    }
    # Nothing is made of dev; the checkpoints of the network that it chooses hold its best weights.
    dev, parameters = Index("dev", ["cat"], [entry([0])]), {"classifier": 5, "segmentation": 9}
    plan = preflight.planned_bytes([train, val, dev], networks, parameters)
    assert "images of dev" not in plan
    assert plan["checkpoints, until a training ends"] == 2 * 4 * 9 * (2 + 1)
    # Averaged weights are a further copy.
    networks["segmentation"] = Segmentation(**LITE, average_last=0.5)
    plan = preflight.planned_bytes([train, val, dev], networks, parameters)
    assert plan["checkpoints, until a training ends"] == 2 * 4 * 9 * (2 + 1 + 1)
    full = {"segmentation": Segmentation(**LITE, supervision="full")}
    assert list(preflight.planned_bytes([train, val], full, {"segmentation": 7})) == [
        "images of val",
        "weights of segmentation",
        "checkpoints, until a training ends",
    ]


def test_disk_counts_what_is_already_there(tmp_path, monkeypatch):
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda _: SimpleNamespace(free=500))
    (missing,) = preflight.disk_problems(tmp_path, 1500)
    assert "are free; make room, or put the results elsewhere" in str(missing)
    (tmp_path / "cams/maps").mkdir(parents=True)
    (tmp_path / "cams/maps/a.png").write_bytes(bytes(1000))
    assert not preflight.disk_problems(tmp_path, 1500)
    assert preflight.disk_problems(tmp_path, 1501)
    kept = tmp_path / "segmentation/final/run/0123456789abcdef/weights.safetensors"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(bytes(1000))
    assert preflight.disk_problems(tmp_path, 1501)
    shutil.copy(kept, tmp_path / "segmentation/final")
    assert not preflight.disk_problems(tmp_path, 2500)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"weights": {"source": "file", "name": "none.pth"}},
            f"none.pth: no such weight file below {Path.cwd()}; see",
        ),
        ({"weights": {"source": "package", "name": "none"}}, "package 'none' is not installed"),
        ({"backbone": "vgg61"}, "not a timm model"),
    ],
)
def test_networks_that_cannot_be_had(settings, message):
    for network in (Classifier, Segmentation):
        given = network.model_validate({**LITE, **settings})
        _, (found,) = check_network("it", given, 3)
        assert message in str(found)
        assert str(found).endswith("see the settings of it")


def test_weights_of_another_network(tmp_path):
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "w.pth")
    weights = Weights(source="file", name=str(tmp_path / "w.pth"))
    count, (found,) = check_network("it", Classifier(**LITE | {"weights": weights}), 3)
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
