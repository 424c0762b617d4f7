"""The published checkpoint format: fetched from a server, loaded without pickle, evaluated."""

import json
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch

from helpers.formula import insert_formula_weights
from helpers.project import ROOT, run
from i2crc.config.schema import Segmentation
from i2crc.inference.prediction import load_segmentation
from i2crc.models.deeplab import build_segmentation


@pytest.fixture
def server(tmp_path):
    """A folder and the address that serves it."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


# Small, where only the workflow is tested.
SMALL = Segmentation(
    backbone="efficientnet_lite0", output_stride=32, scales=[1.0], preprocessing="caffe_bgr"
)


def publish(path, classes: int, salt: float, settings: Segmentation) -> None:
    """Write formula weights the way the published checkpoint holds them: a plain state dict."""
    model = build_segmentation(settings, classes)
    insert_formula_weights(model, salt)
    torch.save(model.state_dict(), path)


@pytest.mark.exhaustive
def test_logits_of_a_fetched_checkpoint_equal_the_golden_ones(server, tmp_path, golden):
    folder, address = server
    facts = json.loads((golden / "segmentation.json").read_text())
    classes = dict(facts["keys"])["base.classifier.conv2d_list.0.bias"][0] - 1
    publish(folder / "checkpoint.pth", classes, facts["salt"], Segmentation())
    names = [f"class{number}" for number in range(classes)]
    entry = {"id": "a", "image": "a.jpg", "mask": None, "classes": [0], "width": 1, "height": 1}
    index = {"split": "val", "classes": names, "images": [{**entry, "sha256": ""}]}
    (tmp_path / "val.json").write_text(json.dumps(index))
    weights = tmp_path / "weights.safetensors"
    done = run(
        [
            sys.executable, ROOT / "workflow_scripts/published/fetch_checkpoint.py",
            "--source", f"{address}/checkpoint.pth",
            "--settings", json.dumps({"preprocessing": "caffe_bgr"}),
            "--index", tmp_path / "val.json", "--cache", tmp_path / "cache", "--weights", weights,
        ],
        ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    model, preprocessing = load_segmentation(weights, torch.device("cpu"))
    assert preprocessing.order == "bgr"
    vectors = np.load(golden / "segmentation.npz")
    with torch.inference_mode():
        logits = model.double()(torch.from_numpy(vectors["image"]).double()).numpy()
    expected = vectors["logits"]
    assert np.abs(logits - expected).max() <= 1e-6 * np.abs(expected).max()


@pytest.mark.exhaustive
def test_evaluate_checkpoint_scores_val_before_and_after_the_crf(server, copied):
    folder, address = server
    publish(folder / "checkpoint.pth", 6, 0.07, SMALL)
    published = {
        "segmentation": SMALL.model_dump(),
        "checkpoint": {"source": f"{address}/checkpoint.pth"},
    }
    done = copied.snakemake("evaluate_checkpoint", settings=published)
    assert done.returncode == 0, done.stdout + done.stderr
    for stage in ("published_val_prediction", "published_val_crf"):
        assert json.loads((copied.results / f"scores/{stage}.json").read_text())["images"] == 6
