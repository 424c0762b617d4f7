"""The stage `crf` makes the same labels with a GPU."""

import json
import runpy
from argparse import Namespace

import pytest
import torch

from helpers.project import ROOT
from i2crc.artifacts.stages import STAGES
from i2crc.runtime.atomic import read_json
from i2crc.training import distributed

SHARD = "1-of-1.json"


@pytest.mark.parametrize(("round", "split"), [("initial", "train"), ("final", "val")])
def test_the_labels_are_those_of_the_cores(finished, tmp_path, monkeypatch, round, split):
    """PyTorch computes on the CPU here; tests/cluster/test_cuda.py uses a GPU."""
    monkeypatch.setattr(distributed, "start", lambda gpus, threads: torch.device("cpu", gpus - 1))
    monkeypatch.chdir(finished.folder)
    expected = read_json(finished.results / "crf" / round / split / SHARD)
    main = runpy.run_path(str(ROOT / "workflow_scripts" / STAGES["crf"].script))["main"]
    arguments = Namespace(
        settings=json.dumps(expected["provenance"]["settings"]),
        index=finished.results / "data" / split / SHARD,
        logits=finished.results / "predictions" / round / split / "logits" / SHARD,
        folder=tmp_path / "images",
        manifest=tmp_path / SHARD,
        gpus=1,
        threads=1,
        jobs=1,
    )
    main(arguments)
    assert read_json(tmp_path / SHARD)["files"] == expected["files"]
