"""What artifacts say of their origin."""

import json
import subprocess
from datetime import datetime
from pathlib import Path

import pytest

from i2crc.artifacts import provenance
from i2crc.artifacts.provenance import Origin, content_digest, read_provenance, write_beside
from i2crc.artifacts.stages import STAGES
from i2crc.config.schema import Cam
from i2crc.runtime.atomic import digest_bytes, digest_value

SCRIPT = Path(provenance.__file__).parents[2] / STAGES["infer_cam"].script


def test_all_facts_are_there(tmp_path):
    index = tmp_path / "data" / "train.json"
    index.parent.mkdir()
    index.write_text("{}")
    origin = Origin(SCRIPT, [index], Cam(flip=True), seed=3, precision="bf16")
    facts = origin.describe(tmp_path / "cams" / "1-of-2.json")
    assert facts["script"] == "infer_cam"
    assert facts["settings"] == {"flip": True, "scales": [1.0]}
    assert facts["settings_sha256"] == digest_value(facts["settings"])
    assert facts["inputs"] == {"../data/train.json": digest_bytes(b"{}")}
    assert (facts["seed"], facts["precision"]) == (3, "bf16")
    assert facts["device"].startswith("cpu (")
    assert facts["versions"]["torch"]
    assert datetime.fromisoformat(facts["start"]).tzinfo
    assert facts["seconds"] > 0
    assert len(facts["code_sha256"]) == 64
    json.dumps(facts)


def test_what_lasts_is_the_same_at_any_time(tmp_path):
    origin = Origin(SCRIPT, [], Cam())
    assert origin.lasting(tmp_path / "a.json") == origin.lasting(tmp_path / "a.json")


def test_the_digest_of_an_artifact_does_not_depend_on_when_it_was_made(tmp_path):
    paths = [tmp_path / f"{n}.json" for n in range(3)]
    for number, path in enumerate(paths):
        files = {"a.png": "1" if number < 2 else "2"}
        path.write_text(json.dumps({"files": files, "provenance": {"start": number}}))
    first, second, other = map(content_digest, paths)
    assert first == second != other


ORIGINAL = {"image": "o/a.tif", "width": 9, "height": 9, "sha256": "0"}
ENTRY = {
    "id": "a", "image": "p/a.jpg", "mask": "m/a.png", "classes": [1], "width": 3, "height": 3,
    "sha256": "1", "mask_sha256": "2", "original": ORIGINAL, "trusted_mask": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        ({"image": "elsewhere/a.jpg"}, False),
        ({"mask": "elsewhere/a.png"}, False),
        ({"original": {**ORIGINAL, "image": "elsewhere/a.tif"}}, False),
        ({"mask": None}, True),
        ({"trusted_mask": "m/a.png"}, True),
        ({"original": {**ORIGINAL, "sha256": "3"}}, True),
        ({"original": None}, True),
        ({"sha256": "3"}, True),
        ({"mask_sha256": "3"}, True),
        ({"classes": []}, True),
        ({"id": "b"}, True),
    ],
)
def test_the_places_of_photographs_and_masks_do_not_count(tmp_path, change, counts):
    paths = [tmp_path / "first.json", tmp_path / "second.json"]
    for path, entry in zip(paths, (ENTRY, {**ENTRY, **change}), strict=True):
        images = [entry, {**ENTRY, "id": "z"}]
        path.write_text(json.dumps({"images": images, "provenance": {}}))
    first, second = map(content_digest, paths)
    assert (first != second) == counts


def test_the_provenance_of_other_files_is_beside_them(tmp_path):
    figure = tmp_path / "figure.svg"
    figure.write_text("<svg/>")
    assert read_provenance(figure) is None
    write_beside(figure, {"script": "plot"})
    digest = digest_bytes(b"<svg/>")
    assert read_provenance(figure) == {"script": "plot", "sha256": digest, "bytes": 6}


def test_the_fingerprint_is_of_settings_seed_code_and_content_of_inputs(tmp_path):
    script, file = tmp_path / "script.py", tmp_path / "input.txt"
    script.write_text("A = 1\n")
    file.write_text("1")
    seen = {Origin(script, [file], {"a": 1}, 0).fingerprint()}
    seen.add(Origin(script, [file], {"a": 2}, 0).fingerprint())
    seen.add(Origin(script, [file], {"a": 1}, 1).fingerprint())
    file.write_text("2")
    seen.add(Origin(script, [file], {"a": 1}, 0).fingerprint())
    script.write_text("A = 2\n")
    seen.add(Origin(script, [file], {"a": 1}, 0).fingerprint())
    assert len(seen) == 5
    moved = tmp_path / "elsewhere.txt"
    moved.write_text("2")
    assert Origin(script, [moved], {"a": 1}, 0).fingerprint() in seen
    assert Origin(script, [file], {"a": 1}, 0, "fp32", "cuda:0").fingerprint() in seen


def test_paths_in_an_index_do_not_count_for_its_digest(tmp_path):
    def digest(**changes) -> str:
        entry = {"id": "a", "image": "/one/a.jpg", "mask": "/one/a.png", "sha256": "0"} | changes
        path = tmp_path / "index.json"
        path.write_text(json.dumps({"images": [entry], "provenance": {}}))
        return content_digest(path)

    assert digest() == digest(image="/two/a.jpg", mask="/two/a.png")
    assert len({digest(), digest(mask=None), digest(sha256="1"), digest(id="b")}) == 4


def test_git_tells_the_revision_and_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "LIBRARY", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance.git_revision() is None

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    file = tmp_path / "file"
    file.write_text("1")
    git("add", "file")
    git("commit", "-qm", "first")
    revision = git("rev-parse", "HEAD")
    assert provenance.git_revision() == {"revision": revision, "changed": False}
    file.write_text("2")
    assert provenance.git_revision() == {"revision": revision, "changed": True}
