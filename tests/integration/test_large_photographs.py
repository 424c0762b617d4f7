"""Large photographs: stages compute at working size, and write labels of the photograph's size."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from helpers.project import ROOT, run
from i2crc.artifacts.stages import STAGES
from i2crc.data.images import read_label, resize_nearest
from i2crc.runtime.atomic import read_json, write_json

SHARD = "1-of-1.json"
INITIAL, REFINED = "labels/initial", "labels/refined"
PREDICTION, CRF = "predictions/initial/train", "crf/initial/train"
SIZE = (160, 160)


@pytest.fixture(scope="module")
def large(finished, tmp_path_factory) -> Path:
    """The labels of each stage, as if the demo's photographs were copies of larger ones."""
    folder, results = tmp_path_factory.mktemp("large"), finished.results
    index = read_json(results / "data/train" / SHARD)
    for entry in index["images"]:
        entry["original"] = {"image": "", "sha256": "", "width": SIZE[0], "height": SIZE[1]}
    write_json(folder / "index.json", index)

    def make(stage: str, output: str, **inputs: Path) -> None:
        settings = read_json(results / output / SHARD)["provenance"]["settings"]
        options = ["--settings", json.dumps(settings)] if settings else []
        options += [word for name, path in inputs.items() for word in (f"--{name}", path)]
        options += ["--index", folder / "index.json", "--folder", folder / output / "images"]
        script = ROOT / "workflow_scripts" / STAGES[stage].script
        command = [sys.executable, script, *options, "--manifest", folder / output / SHARD]
        done = run(command, finished.folder)
        assert done.returncode == 0, done.stderr

    saliency = results / "saliency/manifest.json"
    make("gen_gt", INITIAL, cams=results / "cams" / SHARD, saliency=saliency)
    logits = folder / PREDICTION / "logits"
    outputs = {"logits": logits / "maps", "logits-manifest": logits / SHARD}
    weights = results / "segmentation/initial/weights.safetensors"
    make("predict", PREDICTION, weights=weights, **outputs)
    make("crf", CRF, logits=logits / SHARD)
    crf, initial = folder / CRF / SHARD, folder / INITIAL / SHARD
    make("refine_labels", REFINED, predictions=crf, initial=initial)
    return folder


@pytest.mark.parametrize("stage", [INITIAL, PREDICTION, CRF, REFINED])
def test_labels_are_those_of_the_working_size_enlarged(large, finished, stage):
    files = sorted((large / stage / "images").glob("*.png"))
    assert len(files) == 12
    for file in files:
        expected = read_label(finished.results / stage / "images" / file.name)
        assert np.array_equal(read_label(file), resize_nearest(expected, SIZE))
