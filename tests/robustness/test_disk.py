"""An interrupted prediction on the disk: labels and logits are made together, and continued."""

from pathlib import Path

import pytest

from helpers.project import predict
from i2crc.artifacts.manifest import read_manifests
from i2crc.runtime.atomic import read_json, write_json


def test_logits_are_kept_and_listed(finished):
    manifests = sorted((finished.results / "predictions").rglob("logits/*.json"))
    assert len(manifests) == 2
    files = read_manifests(manifests)
    assert len(files) == 12 + 6
    assert all(path.is_file() and path.suffix == ".npz" for path, _ in files.values())


@pytest.mark.exhaustive
def test_an_interrupted_prediction_continues(finished, tmp_path):
    def files() -> dict[Path, bytes]:
        return {p: p.read_bytes() for p in tmp_path.rglob("*") if p.suffix in (".png", ".npz")}

    done = predict(finished, finished.results / "data/val/1-of-1.json", tmp_path)
    assert done.returncode == 0, done.stderr
    whole = files()
    # As a kill leaves it: files are missing, nothing is listed.
    sorted((tmp_path / "logits/maps").iterdir())[0].unlink()
    for manifest in ("1-of-1.json", "logits/1-of-1.json"):
        (tmp_path / manifest).unlink()
    again = predict(finished, finished.results / "data/val/1-of-1.json", tmp_path)
    count = len(whole) // 2
    assert f"{count - 1} of {count} images were already made" in again.stderr
    assert files() == whole


def test_a_shard_without_images_has_manifests_of_none(finished, tmp_path):
    index = read_json(finished.results / "data/val/1-of-1.json")
    write_json(tmp_path / "empty.json", {**index, "images": []})
    done = predict(finished, tmp_path / "empty.json", tmp_path)
    assert done.returncode == 0, done.stderr
    for manifest in ("1-of-1.json", "logits/1-of-1.json"):
        assert read_json(tmp_path / manifest)["count"] == 0
