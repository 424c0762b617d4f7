"""Photographs without any class, through the stages that make training labels of them."""

import sys
from pathlib import Path

import numpy as np
import pytest

from helpers.project import ROOT, Project, run
from helpers.training import Training
from i2crc.artifacts.manifest import read_manifests
from i2crc.data.images import read_label
from i2crc.runtime.atomic import read_json, write_json


class Negatives:
    """The training images of the finished demo, the first ones of which are said to show nothing.

    What the stages make of them is in `folder`, `STAGE/maps` and `STAGE/1-of-1.json`.
    """

    def __init__(self, project: Project, folder: Path, count: int) -> None:
        self.project, self.folder, self.index = project, folder, folder / "index.json"
        index = read_json(project.results / "data/train.json")
        self.ids = [entry["id"] for entry in index["images"][:count]]
        entries = [{**e, "classes": [] if e["id"] in self.ids else e["classes"]}
                   for e in index["images"]]  # fmt: skip
        write_json(self.index, {**index, "images": entries})

    def make(self, script: str, **inputs: Path) -> tuple[dict[str, tuple[Path, str]], str]:
        """Run a stage; return its files, and its log."""
        stage = self.folder / Path(script).stem
        given = [word for name, path in inputs.items() for word in (f"--{name}", path)]
        made = ["--folder", stage / "maps", "--manifest", stage / "1-of-1.json"]
        command = [sys.executable, ROOT / "workflow_scripts" / script, "--index", self.index]
        done = run([*command, *given, *made], self.project.folder)
        assert done.returncode == 0, done.stderr
        return read_manifests([stage / "1-of-1.json"]), done.stderr


@pytest.fixture
def negatives(finished, tmp_path) -> Negatives:
    return Negatives(finished, tmp_path, 3)


@pytest.mark.exhaustive
def test_their_training_labels_are_background_in_both_rounds(negatives):
    results = negatives.project.results
    weights = results / "classifier/weights.safetensors"
    attention, _ = negatives.make("classifier/infer_cam.py", weights=weights)
    assert {name.rpartition("_")[0] for name in attention}.isdisjoint(negatives.ids)
    # That an image has no file is no reason to make it again.
    again, log = negatives.make("classifier/infer_cam.py", weights=weights)
    assert again == attention and "12 of 12 images were already made" in log
    cams = negatives.folder / "infer_cam/1-of-1.json"
    initial, _ = negatives.make(
        "labels/gen_gt.py", cams=cams, saliency=results / "saliency/manifest.json"
    )
    refined, _ = negatives.make(
        "labels/refine_labels.py",
        predictions=results / "crf/initial/train/1-of-1.json",
        initial=negatives.folder / "gen_gt/1-of-1.json",
    )
    for name in negatives.ids:
        for labels in (initial, refined):
            assert not read_label(labels[f"{name}.png"][0]).any()
    others = [read_label(path).any() for name, (path, _) in initial.items()
              if Path(name).stem not in negatives.ids]  # fmt: skip
    assert np.all(others) and len(others) == 9


def test_a_classifier_learns_from_batches_of_them_alone(finished, tmp_path):
    negatives = Negatives(finished, tmp_path, 12)
    training = Training(finished.results, tmp_path)
    command = training.command("train", "--index", str(negatives.index), epochs=1)
    done = run(command, finished.folder)
    assert done.returncode == 0, done.stderr
    assert training.weights("train").is_file()
