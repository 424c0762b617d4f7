"""A folder full of bad files: one report names each of them before anything expensive runs."""

import json
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.images import huge_png
from helpers.project import Project, merge
from i2crc.data.images import write_gray, write_label

SIZE = (24, 16)
FOLDER = {"root": "data", "masks": "masks"}
GOOD = [f"good{number}" for number in range(4)]


def write_good(root: Path, ids: list[str]) -> None:
    """A photograph of noise, a mask of class 1 and a saliency map for each id."""
    (root / "JPEGImages").mkdir(parents=True, exist_ok=True)
    for name in ids:
        noise = np.random.default_rng(zlib.crc32(name.encode())).integers(
            0, 256, (*SIZE[::-1], 3), dtype=np.uint8
        )
        Image.fromarray(noise).save(root / f"JPEGImages/{name}.jpg", "JPEG", quality=95)
        box = np.zeros(SIZE[::-1], np.uint8)
        box[4:12] = 1
        write_label(root / f"masks/{name}.png", box)
        write_gray(root / f"saliency/{name}.png", box * 255)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


# Bad training image -> what makes it so, given the root of a good one.
BAD = {
    "cut": lambda root: cut(root / "JPEGImages/cut.jpg"),
    "empty": lambda root: (root / "JPEGImages/empty.jpg").write_bytes(b""),
    "text": lambda root: (root / "JPEGImages/text.jpg").write_text("<html>"),
    "bomb": lambda root: (root / "JPEGImages/bomb.jpg").write_bytes(huge_png(20_000)),
    "nophoto": lambda root: (root / "JPEGImages/nophoto.jpg").unlink(),
    "othercase": lambda root: (root / "JPEGImages/othercase.jpg").rename(
        root / "JPEGImages/othercase.JPG"
    ),
    "float": lambda root: Image.new("F", SIZE).save(root / "JPEGImages/float.jpg", "TIFF"),
    "maskrgb": lambda root: Image.new("RGB", SIZE).save(root / "masks/maskrgb.png"),
    "mask16": lambda root: Image.new("I;16", SIZE).save(root / "masks/mask16.png"),
    "maskjpg": lambda root: Image.new("L", SIZE).save(root / "masks/maskjpg.png", "JPEG"),
    "maskvalue": lambda root: Image.new("L", SIZE, 3).save(root / "masks/maskvalue.png"),
    "masksize": lambda root: Image.new("L", SIZE[::-1]).save(root / "masks/masksize.png"),
    "maskcut": lambda root: cut(root / "masks/maskcut.png"),
    "nomap": lambda root: (root / "saliency/nomap.png").unlink(),
    "mapsize": lambda root: Image.new("L", (9, 9)).save(root / "saliency/mapsize.png"),
    "mapcolour": lambda root: Image.new("RGB", SIZE, "red").save(root / "saliency/mapcolour.png"),
    "mapcut": lambda root: cut(root / "saliency/mapcut.png"),
    "twomaps": lambda root: write_gray(root / "saliency/b/twomaps.png", np.zeros((2, 2), np.uint8)),
    "both": lambda root: (cut(root / "JPEGImages/both.jpg"), cut(root / "saliency/both.png")),
}
BAD_LINES = {"good0 0": "listed twice", "good1 7": "and a bad class", "noclass": "", "../up 0": ""}
REPORTED = [
    "JPEGImages/cut.jpg: cannot be decoded (",
    "JPEGImages/empty.jpg: cannot be decoded (it is empty); replace the file",
    "JPEGImages/text.jpg: cannot be decoded (no JPEG, PNG",
    "JPEGImages/bomb.jpg: 20000x20000 pixels, more than the 100000000 allowed; make it smaller",
    "JPEGImages/nophoto.jpg: missing; add it, or take its image out of the list",
    "JPEGImages/othercase.jpg: missing; 'othercase.JPG' is there: rename it",
    "JPEGImages/float.jpg: mode F, whose values have no fixed range; save it with 8 bits",
    "masks/maskrgb.png: mode RGB, which holds no class indices; save it as a palette",
    "masks/mask16.png: mode I;16, which holds no class indices; save it as a palette",
    "masks/maskjpg.png: a JPEG, which changes pixel values; save it as a palette",
    "masks: value 3 in 1 of 10 masks of train (maskvalue.png), but the data set has 2 classes; ",
    "masks/masksize.png: size 16x24, the photograph has 24x16; give the mask",
    "masks/maskcut.png: cannot be decoded (",
    "saliency/nomap.png: no such saliency map; add it",
    "saliency/mapsize.png: size 9x9, the photograph has 24x16; give the map",
    "saliency/mapcolour.png: colour, not grey; save it as an 8-bit grey PNG",
    "saliency/mapcut.png: cannot be decoded (",
    "saliency/b/twomaps.png: also found as data/saliency/twomaps.png; leave one",
    "JPEGImages/both.jpg: cannot be decoded (",
    "saliency/both.png: cannot be decoded (",
    "train.txt:24: image 'good0' is listed in line 1 too; take one of the lines out",
    "train.txt:25: image 'good1' is listed in line 2 too; take one of the lines out",
    "train.txt:25: '7': no class; classes are the numbers 0 to 1, or their names",
    "train.txt:26: noclass: a training image without a class; give its classes in the list",
    "train.txt:27: image '../up' is not a plain file name; give the name of the photograph",
    "val.txt:2: 'dgo': no class; classes are the numbers 0 to 1, or their names; the nearest is",
    "JPEGImages/badval.jpg: cannot be decoded (",
    "good2: a validation image that is in the training list too; take it out of one",
    "JPEGImages/twin.jpg = data/JPEGImages/good3.jpg: a validation image that is in the training",
    "JPEGImages/good1.jpg: in dataset.dev_list, and in train, too; take it out of one of the two",
    "JPEGImages/copy.jpg: in dataset.dev_list, and in train as data/JPEGImages/good2.jpg, too",
    "JPEGImages/copy.jpg: in dataset.dev_list, and in val as data/JPEGImages/good2.jpg, too; take",
    "JPEGImages/nomask.jpg: in dataset.dev_list, but without a mask; add its mask (dataset.masks)",
    "classifier.weights: none.safetensors: no such weight file below /",
]


def write_bad(root: Path) -> None:
    write_good(root, [*GOOD, *BAD, "noclass", "badval", "twin", "dgo", "copy", "nomask"])
    for spoil in BAD.values():
        spoil(root)
    (root / "JPEGImages/badval.jpg").write_bytes(b"")
    (root / "JPEGImages/twin.jpg").write_bytes((root / "JPEGImages/good3.jpg").read_bytes())
    (root / "JPEGImages/copy.jpg").write_bytes((root / "JPEGImages/good2.jpg").read_bytes())
    (root / "masks/nomask.png").unlink()
    (root / "dev.txt").write_text("good1\ncopy\nnomask\n")
    lines = [*(f"{name} 0" for name in (*GOOD, *BAD)), *BAD_LINES]
    (root / "train.txt").write_text("\r\n".join(lines))
    (root / "val.txt").write_text("badval\ndgo dgo\ngood2 0\ntwin 0")
    (root / "classes.txt").write_text("cat\ndog\n")


class Checked:
    """A project, the output of its preflight, and the report."""

    def __init__(self, project: Project, **settings: dict) -> None:
        lists = {"train_list": "train.txt", "val_list": "val.txt"}
        settings = merge({"dataset": FOLDER | lists}, settings)
        self.done = project.snakemake("preflight", settings=settings)
        self.output = self.done.stdout + self.done.stderr
        self.results = project.results
        report = project.results / "preflight/pipeline.problems.txt"
        self.report = report.read_text().splitlines() if report.is_file() else []


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    return Project.new(tmp_path_factory.mktemp("preflight") / "project")


@pytest.fixture(scope="module")
def bad(project) -> Checked:
    write_bad(project.folder / "data")
    weights = {"source": "file", "name": "none.safetensors"}
    return Checked(project, classifier={"weights": weights}, dataset={"dev_list": "dev.txt"})


@pytest.mark.parametrize("problem", REPORTED)
def test_every_problem_is_in_the_report(bad, problem):
    assert sum(line.removeprefix("data/").startswith(problem) for line in bad.report) == 1
    assert problem in bad.output


def test_the_report_holds_nothing_else_and_nothing_ran(bad):
    assert bad.done.returncode != 0
    assert len(bad.report) == len(REPORTED)
    assert f"{len(REPORTED)} problems to fix before the run can start" in bad.output
    assert "Traceback" not in bad.output
    assert not (bad.results / "classifier").exists()


def corrected(project: Project) -> Checked:
    """The same project after its problems were corrected."""
    root = project.folder / "data"
    write_good(root, ["new"])
    (root / "saliency/b/twomaps.png").unlink(missing_ok=True)
    (root / "train.txt").write_text("good0 0\ngood1 0\nnew 0\n")
    (root / "val.txt").write_text("good2 0\ngood3\n")
    return Checked(project)


@pytest.mark.exhaustive
def test_what_was_corrected_passes(bad, project):
    clean = corrected(project)
    assert clean.done.returncode == 0, clean.output
    assert not clean.report
    told = json.loads((clean.results / "preflight/pipeline.json").read_text())
    assert told["images"] == {"train": 3, "val": 2}
    assert sum(told["planned_bytes"].values()) > 10_000_000


@pytest.mark.exhaustive
def test_a_replaced_photograph_is_looked_at_again(bad, project):
    clean = corrected(project)
    before = (clean.results / "data/train.json").read_text()
    Image.new("RGB", SIZE, "red").save(project.folder / "data/JPEGImages/new.jpg")
    again = Checked(project)
    assert again.done.returncode == 0, again.output
    assert (clean.results / "data/train.json").read_text() != before
    third = Checked(project)
    assert "Nothing to be done" in third.output


@pytest.mark.exhaustive
def test_several_things_that_leave_nothing_to_read_are_one_report(project):
    lists = {"train_list": "none.txt", "val_list": "empty.txt"}
    (project.folder / "data/empty.txt").write_text("\n")
    (project.folder / "data/classes.txt").rename(project.folder / "data/classes.away")
    done = project.snakemake(
        "preflight",
        settings={
            "dataset": {"root": "data", "masks": "nowhere", **lists},
            "saliency": {"location": "none.zip"},
            "experiment": "nothing",
        },
    )
    output = done.stdout + done.stderr
    assert done.returncode != 0
    assert "5 problems to fix" in output
    for problem in (
        "data/classes.txt: missing; write it, a class a line, or set dataset.classes",
        "data/none.txt: cannot be read (No such file or directory); check dataset.root",
        "data/empty.txt: lists no image",
        "dataset.masks: data/nowhere: no such folder below {folder}; correct dataset.masks",
        "none.zip: no such file below {folder}; give another source; see the setting "
        "saliency.location",
    ):
        assert problem.format(folder=project.folder) in output
    done = project.snakemake("preflight", settings={"dataset": {"root": "no"}, "experiment": "no"})
    assert "dataset.root: no: no such folder below " in done.stdout + done.stderr


@pytest.mark.exhaustive
def test_a_checkpoint_of_other_classes_is_told_before_it_is_used(project):
    torch = pytest.importorskip("torch")
    torch.save({"base.classifier.conv2d_list.0.bias": torch.zeros(21)}, project.folder / "c.pth")
    (project.folder / "data/classes.txt").write_text("cat\ndog\n")
    (project.folder / "data/val.txt").write_text("good2 0\ncut\n")
    settings = {
        "dataset": FOLDER | {"val_list": "val.txt"},
        "checkpoint": {"source": "c.pth"},
        "experiment": "published",
    }
    done = project.snakemake("evaluate_checkpoint", settings=settings)
    output = done.stdout + done.stderr
    assert "2 problems to fix" in output
    assert "c.pth: its network has 20 classes, the data set has 2; give the" in output
    assert "data/JPEGImages/cut.jpg: cannot be decoded" in output
    assert not (project.folder / "results/published/segmentation").exists()


@pytest.mark.exhaustive
def test_masks_that_mean_something_else_stop_the_run_and_can_be_declared(project):
    root = project.folder / "binary"
    write_good(root, GOOD)
    for name in GOOD:
        box = np.asarray(Image.open(root / f"masks/{name}.png"))
        write_gray(root / f"masks/{name}.png", box * 255)
    (root / "classes.txt").write_text("cat\ndog\n")
    (root / "train.txt").write_text("good0 0\ngood1 1\n")
    (root / "val.txt").write_text("good2 0\ngood3 1\n")
    one = {"experiment": "binary", "dataset": FOLDER | {"root": "binary"}}
    refused = Checked(project, **one)
    assert refused.done.returncode != 0
    for split, first in (("train", "good0"), ("val", "good2")):
        assert (
            f"binary/masks: 2 of 2 masks of {split} do not fit their photograph's classes; "
            f"{first}.png holds 0, 255, but its photograph shows cat (value 1); if every value but "
            "0 means its photograph's one class, set dataset.binary_masks: true; else save class "
        ) in refused.output
    one["dataset"] |= {"binary_masks": True}
    declared = Checked(project, **one)
    assert declared.done.returncode == 0, declared.output
    few = "train has fewer than 5 photographs of cat (1), dog (1): too few to learn from"
    assert declared.output.count(few) == 1
    results = project.folder / "results/binary"
    assert few in json.loads((results / "preflight/pipeline.json").read_text())["warnings"]
    mask = results / "data/val/masks/good3.png"
    before = mask.read_bytes()
    assert set(np.unique(np.asarray(Image.open(mask)))) == {0, 2}
    mask.unlink()
    lists = {"train_list": "train.txt", "val_list": "val.txt"}
    one["dataset"] |= lists
    again = project.snakemake("results/binary/data/val.json", settings=one)
    assert again.returncode == 0, again.stderr
    assert mask.read_bytes() == before


def test_warnings_stand_above_the_scores(finished):
    content = json.loads((finished.results / "preflight/pipeline.json").read_text())
    few, interval = content["warnings"]
    assert few.startswith("train has fewer than 5 photographs of ")
    assert interval.startswith("val has 6 images with a mask: ")
    table = (finished.results / "scores/table.md").read_text()
    assert table.startswith(f"**{few}**\n\n**{interval}**\n\n|")
    assert few in (finished.results / "report/landing.html").read_text()


@pytest.fixture
def mount(project):
    """Mount a small file system in memory as the results of the project."""
    mounted = []

    def at(name: str, options: str) -> None:
        folder = project.folder / name
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no file system can be mounted here: {error}")
        mounted.append(folder)

    yield at
    for folder in mounted:
        subprocess.run(["umount", "-l", folder], check=True)


def test_results_that_cannot_be_written_are_told_plainly(project, mount):
    mount("readonly", "ro,size=1m")
    done = project.snakemake("preflight", settings={"results": "readonly/results"})
    output = done.stdout + done.stderr
    assert done.returncode != 0
    assert "readonly/results/demo: cannot be written" in output
    assert "choose another folder with the setting `results`" in output
    assert "Traceback" not in output
    assert "site-packages/snakemake/workflow.py" not in output


def test_records_that_cannot_be_written_are_told_plainly(project, mount):
    (project.folder / ".snakemake").rename(project.folder / "records")
    mount(".snakemake", "ro,size=1m")
    done = project.snakemake("preflight")
    assert done.returncode != 0
    assert ".snakemake: cannot be written" in done.stdout + done.stderr
    assert "site-packages/snakemake/workflow.py" not in done.stdout + done.stderr


@pytest.mark.exhaustive
def test_too_little_disk_is_told_before_anything_trains(project, mount):
    mount("small", "size=20m")
    root = project.folder / "fine"
    write_good(root, GOOD)
    (root / "classes.txt").write_text("cat\n")
    (root / "train.txt").write_text("good0 0\ngood1 0\n")
    (root / "val.txt").write_text("good2 0\n")
    folder = {"root": "fine", "masks": "masks", "train_list": "train.txt", "val_list": "val.txt"}
    done = project.snakemake("preflight", settings={"dataset": folder, "results": "small"})
    output = done.stdout + done.stderr
    assert "1 problem to fix" in output
    assert "small/demo: the remaining artifacts take about 0.05 GB" in output
    assert "make room, or put the results elsewhere with the setting `results`" in output
