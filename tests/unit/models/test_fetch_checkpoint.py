"""fetch_checkpoint.py: what is fetched and converted again, and what is kept."""

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from helpers.project import ROOT
from helpers.restored import check_restored
from helpers.weights import same
from i2crc.artifacts.stages import STAGES
from i2crc.config.schema import Segmentation
from i2crc.models.deeplab import build_segmentation
from i2crc.models.weight_files import read_metadata, read_state
from i2crc.runtime.atomic import digest_file

SCRIPT = ROOT / "workflow_scripts" / STAGES["fetch_checkpoint"].script
SETTINGS = Segmentation(
    backbone="efficientnet_lite0", output_stride=32, backbone_stage=1, scales=[1.0]
)
CLASSES = ["cat", "dog"]


@pytest.fixture
def served():
    """An address, the files below it by their paths, and the paths that were asked for."""
    files, asked = {}, []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(files[self.path])

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", files, asked
        server.shutdown()


def write_checkpoint(path: Path, classes: int = len(CLASSES)) -> dict:
    """Write a plain state dict, and return it."""
    state = build_segmentation(SETTINGS, classes).state_dict()
    torch.save(state, path)
    return state


def write_index(folder: Path, classes: list[str], *images: str) -> None:
    facts = {"image": "", "mask": None, "classes": [0], "width": 1, "height": 1, "sha256": ""}
    entries = [{"id": name, **facts} for name in images]
    index = {"split": "val", "classes": classes, "images": entries}
    (folder / "index.json").write_text(json.dumps(index))


def command(folder: Path, source: str, *options: str) -> list:
    """The script and its arguments."""
    return [
        SCRIPT, "--source", source, "--settings", SETTINGS.model_dump_json(),
        "--index", folder / "index.json", "--cache", folder / "cache",
        "--weights", folder / "w.safetensors", *options,
    ]  # fmt: skip


def convert(folder: Path, source: str, *options: str) -> subprocess.CompletedProcess:
    started = [sys.executable, *command(folder, source, *options)]
    return subprocess.run(started, capture_output=True, text=True, check=False)


@pytest.mark.exhaustive
def test_a_checkpoint_of_the_web_is_fetched_once(served, tmp_path):
    address, files, asked = served
    source = f"{address}/c.pth"
    state = write_checkpoint(tmp_path / "c.pth")
    sha256 = digest_file(tmp_path / "c.pth")
    files["/c.pth"] = (tmp_path / "c.pth").read_bytes()
    write_index(tmp_path, CLASSES, "a")
    done = convert(tmp_path, source)
    assert done.returncode == 0, done.stderr
    assert same(read_state(tmp_path / "w.safetensors")[0], state)
    metadata = read_metadata(tmp_path / "w.safetensors")
    assert metadata["weights"] == {"source": source, "sha256": sha256}
    assert metadata["classes"] == CLASSES
    outputs = [tmp_path / "w.safetensors", tmp_path / "w.safetensors.provenance"]
    check_restored(command(tmp_path, source), outputs, tmp_path)
    write_index(tmp_path, CLASSES, "a", "b")
    check_restored(command(tmp_path, source), outputs, tmp_path)
    assert asked == ["/c.pth"]
    # Another source, or a digest to check, starts a transfer.
    files["/d.pth"] = b"<html>"
    done = convert(tmp_path, f"{address}/d.pth")
    assert (done.returncode, asked[1:]) == (1, ["/d.pth"])
    done = convert(tmp_path, source, "--sha256", "0" * 64)
    assert (done.returncode, asked[2:]) == (1, ["/c.pth"])
    assert f"SHA-256 is {sha256}, expected 0000" in done.stderr


@pytest.mark.exhaustive
def test_a_local_checkpoint_is_known_by_its_content(tmp_path):
    source = tmp_path / "c.pth"
    write_index(tmp_path, CLASSES)
    write_checkpoint(source)
    assert convert(tmp_path, str(source)).returncode == 0
    source.touch()
    outputs = [tmp_path / "w.safetensors", tmp_path / "w.safetensors.provenance"]
    check_restored(command(tmp_path, str(source)), outputs, tmp_path)
    state = write_checkpoint(source, classes=3)
    done = convert(tmp_path, str(source))
    assert done.returncode == 1
    assert "its network has 3 classes, the data set has 2" in done.stderr
    assert "Traceback" not in done.stderr
    write_index(tmp_path, [*CLASSES, "cow"])
    assert convert(tmp_path, source.as_uri()).returncode == 0
    assert same(read_state(tmp_path / "w.safetensors")[0], state)
    assert source.is_file()
