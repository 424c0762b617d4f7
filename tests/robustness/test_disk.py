"""Logits on the disk: gone after the CRF, and resumed where a prediction was interrupted."""

from pathlib import Path

from i2crc.runtime.atomic import read_json, write_json
from helpers.project import predict


def test_logits_are_gone_after_the_crf(finished):
    manifests = sorted((finished.results / "predictions").rglob("logits/*.json"))
    assert len(manifests) == 4  # two shards a round
    assert all(read_json(path)["temporary"] for path in manifests)
    assert not list((finished.results / "predictions").rglob("*.npz"))


def test_logits_that_an_interrupted_run_left_are_removed_by_the_next(copied):
    manifests = sorted((copied.results / "predictions").rglob("logits/*.json"))
    for manifest in manifests:
        manifest.with_suffix("").mkdir()
        (manifest.with_suffix("") / "image.npz").touch()
    # A CRF that was run on others than these.
    other = copied.results / "crf/final/val/1-of-2.json"
    facts = read_json(other)
    facts["provenance"]["inputs"] = dict.fromkeys(facts["provenance"]["inputs"], "0" * 64)
    write_json(other, facts)
    (copied.results / "scores/table.md").unlink()
    done = copied.snakemake("scores")
    assert done.returncode == 0, done.stdout + done.stderr
    left = [path for path in manifests if path.with_suffix("").exists()]
    assert left == [copied.results / "predictions/final/val/logits/1-of-2.json"]
    assert copied.stale() == set()


def test_an_interrupted_prediction_continues(finished, tmp_path):
    def files() -> dict[Path, bytes]:
        return {p: p.read_bytes() for p in tmp_path.rglob("*") if p.suffix in (".png", ".npz")}

    done = predict(finished, finished.results / "data/val/1-of-2.json", tmp_path)
    assert done.returncode == 0, done.stderr
    whole = files()
    # As a kill leaves it: the folder is not finished, an image is missing, nothing is listed.
    logits = tmp_path / "logits/1-of-2"
    lost = sorted(logits.iterdir())[0]
    lost.unlink()
    logits.rename(tmp_path / "logits/1-of-2.unfinished")
    for manifest in ("1-of-2.json", "logits/1-of-2.json"):
        (tmp_path / manifest).unlink()
    again = predict(finished, finished.results / "data/val/1-of-2.json", tmp_path)
    count = len(whole) // 2
    assert f"{count - 1} of {count} images were already made" in again.stderr
    assert files() == whole


def test_a_shard_without_images_has_logits_and_labels_of_none(finished, tmp_path):
    index = read_json(finished.results / "data/val/1-of-2.json")
    write_json(tmp_path / "empty.json", {**index, "images": []})
    done = predict(finished, tmp_path / "empty.json", tmp_path)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "logits/1-of-2").iterdir()) == []
    for manifest in ("1-of-2.json", "logits/1-of-2.json"):
        assert read_json(tmp_path / manifest)["count"] == 0
