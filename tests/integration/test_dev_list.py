"""Photographs that choose the weights of a training, and those that are left out of it."""

import csv
import json
import runpy
import sys

import pytest

from helpers.project import ROOT, run
from i2crc.artifacts.provenance import read_provenance
from i2crc.models.weight_files import read_metadata
from i2crc.report.score_table import warnings
from i2crc.runtime.atomic import read_json, write_json

SCRIPT = ROOT / "workflow_scripts/segmentation/train_segmentation.py"


@pytest.fixture
def train(finished, tmp_path):
    """A function that trains for four iterations; val is taken for dev, if it is given."""

    def train(name: str, *dev, **settings):
        settings = {
            "backbone": "efficientnet_lite0", "output_stride": 32, "weights": {"source": "random"},
            "scales": [1.0], "crop_size": 64, "batch_size": 2, "accumulate": 1, "iterations": 4,
            "validations": 2, **settings,
        }  # fmt: skip
        folder = tmp_path / name
        done = run(
            [
                sys.executable, SCRIPT,
                "--settings", json.dumps(settings),
                "--index", finished.results / "data/train.json",
                "--labels", finished.results / "labels/initial/1-of-1.json", *dev,
                "--run-folder", folder / "run", "--weights", folder / "weights.safetensors",
                "--history", folder / "history.csv", "--runtime", '{"workers": 0}',
            ],
            finished.folder,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return folder / "weights.safetensors", done.stderr

    return train


def scores(weights, name: str) -> dict[int, float]:
    with open(weights.with_name("history.csv")) as file:
        return {int(r["iteration"]): float(r[name]) for r in csv.DictReader(file) if r[name]}


def test_the_weights_that_are_best_on_dev_are_published(finished, train, tmp_path):
    write_json(tmp_path / "dev.json", read_json(finished.results / "data/val.json"))
    weights, _ = train("dev", "--dev", tmp_path / "dev.json")
    chosen = read_provenance(weights)["chosen"]
    found = scores(weights, "dev_miou")
    assert list(found) == [2, 4]
    assert chosen["dev_miou"] == found[chosen["iteration"]] == max(found.values())
    assert read_metadata(weights)["supervision"]["dev_masks"] == 6
    (sentence,) = warnings(None, [weights], None)
    assert "the weights with the highest mIoU on 6 photographs" in sentence


def test_what_chooses_the_weights_is_in_their_fingerprint(finished, tmp_path):
    index = read_json(finished.results / "data/val.json")
    write_json(tmp_path / "dev.json", index)
    write_json(tmp_path / "fewer.json", index | {"images": index["images"][:5]})
    training = runpy.run_path(str(SCRIPT))

    def fingerprint(dev: str, validations: int) -> str:
        words = ["--index", finished.results / "data/train.json", "--run-folder", tmp_path]
        words += ["--labels", finished.results / "labels/initial/1-of-1.json"]
        words += ["--settings", json.dumps({"validations": validations})]
        words += ["--dev", tmp_path / dev] if dev else []
        words += ["--weights", tmp_path / "weights", "--history", tmp_path / "history"]
        return training["planned"](training["parser"]().parse_args([*map(str, words)])).fingerprint

    cases = [("dev.json", 5), ("dev.json", 6), ("fewer.json", 5), ("", 5)]
    assert len({fingerprint(*case) for case in cases}) == len(cases)
    assert fingerprint("", 5) == fingerprint("", 6)  # nothing is validated


@pytest.mark.exhaustive
def test_photographs_that_are_held_out_are_not_trained_on(train):
    weights, log = train("held", hold_out=0.25)
    assert "9 images" in log
    assert read_metadata(weights)["supervision"]["training_images"] == 9
    assert list(scores(weights, "held_out_miou")) == [2, 4]
