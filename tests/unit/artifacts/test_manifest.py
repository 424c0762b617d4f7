"""Manifests and shards: what is made again and what is not."""

import json
import shutil
import sys
import time
from pathlib import Path

import pytest

from i2crc.artifacts.contents import Contents, artifact_contents
from i2crc.artifacts.manifest import damaged_files
from i2crc.artifacts.journal import Journal
from i2crc.artifacts.manifest import (
    make_shard,
    manifests_digest,
    read_manifests,
    threads,
    write_manifest,
)
from i2crc.artifacts.provenance import Origin, content_digest
from i2crc.runtime.atomic import digest_file, read_json, write_bytes

KEYS = {"a": ["1"], "b": ["1"], "c": ["1"]}
ORIGIN = Origin(Path(__file__), [], {"threshold": 0.5})


class Stage:
    """A shard of a stage that writes two files per image and remembers for which it was asked."""

    def __init__(self, root):
        self.folder = root / "maps"
        self.manifest = root / "shard.json"
        self.journal = root / "shard.journal"
        self.fails_at = None

    def make(self, keys=KEYS, pool=None) -> list[str]:
        """The images that were made."""
        self.made = []
        with pool or threads(1) as pool:
            make_shard(self.manifest, ORIGIN, self.folder, keys, self.work, pool)
        return sorted(self.made)

    def work(self, image_id: str) -> list[str]:
        if image_id == self.fails_at:
            raise RuntimeError(image_id)
        names = [f"{image_id}_{part}.txt" for part in range(2)]
        for name in names:
            (self.folder / name).write_text(name)
        self.made.append(image_id)
        return names


@pytest.fixture
def stage(tmp_path):
    return Stage(tmp_path)


def test_manifest_tells_every_file(stage):
    assert stage.make() == ["a", "b", "c"]
    manifest = read_json(stage.manifest)
    assert list(manifest) == ["stage", "folder", "count", "files", "provenance"]
    assert (manifest["stage"], manifest["folder"], manifest["count"]) == (
        "test_manifests",
        "maps",
        6,
    )
    assert manifest["provenance"]["settings"] == {"threshold": 0.5}
    assert list(manifest["files"]) == sorted(path.name for path in stage.folder.iterdir())
    for name, (path, sha) in read_manifests([stage.manifest]).items():
        assert path == stage.folder / name
        assert sha == digest_file(path)


def test_pool_makes_the_same(stage, tmp_path):
    stage.make()
    (tmp_path / "other").mkdir()
    other = Stage(tmp_path / "other")
    with threads(2) as pool:
        assert other.make(pool=pool) == ["a", "b", "c"]
    assert content_digest(other.manifest) == content_digest(stage.manifest)


def test_unchanged_images_are_skipped(stage):
    stage.make()
    before = content_digest(stage.manifest)
    assert stage.make() == []
    assert content_digest(stage.manifest) == before


def test_lost_manifest_costs_nothing(stage):
    stage.make()
    stage.manifest.unlink()
    assert stage.make() == []
    assert read_json(stage.manifest)["count"] == 6


@pytest.mark.parametrize(
    "damage",
    [lambda path: path.write_text("edited"), lambda path: path.unlink()],
    ids=["edited", "deleted"],
)
def test_damaged_files_are_remade(stage, damage):
    stage.make()
    before = content_digest(stage.manifest)
    damage(stage.folder / "b_1.txt")
    assert stage.make() == ["b"]
    assert content_digest(stage.manifest) == before
    assert stage.make() == []


def test_changed_key_remakes_its_image(stage):
    stage.make()
    assert stage.make(KEYS | {"c": ["2"]}) == ["c"]
    assert stage.make(KEYS | {"c": ["2"]}) == []
    assert stage.make() == ["c"]


def test_other_settings_and_other_code_remake_all(stage, tmp_path, monkeypatch):
    stage.make()
    script = tmp_path / "script.py"
    for changed in (Origin(Path(__file__), [], {"threshold": 0.6}), Origin(script, [], {})):
        script.write_text("CHANGED = 1\n")
        monkeypatch.setattr(sys.modules[__name__], "ORIGIN", changed)
        assert stage.make() == ["a", "b", "c"]


def test_dropped_and_added_images(stage):
    stage.make()
    assert stage.make({"a": ["1"], "d": ["1"]}) == ["d"]
    assert set(read_json(stage.manifest)["files"]) == {
        "a_0.txt", "a_1.txt", "d_0.txt", "d_1.txt",
    }  # fmt: skip


@pytest.mark.parametrize("workers", [0, 1])
def test_finished_work_survives_an_error(stage, workers):
    stage.fails_at = "c"
    pool = threads(workers) if workers else None
    with pytest.raises(RuntimeError, match="c"):
        stage.make(pool=pool)
    assert not stage.manifest.exists()
    stage.fails_at = None
    assert stage.make() == ["c"]


def test_work_finished_before_the_error_survives_it_in_any_order(stage):
    def work(image_id: str) -> list[str]:
        if image_id == "a":
            while len(stage.made) < 2:
                time.sleep(0.01)
            time.sleep(0.1)
            raise RuntimeError(image_id)
        return Stage.work(stage, image_id)

    stage.work = work
    with threads(3) as pool, pytest.raises(RuntimeError, match="a"):
        stage.make(pool=pool)
    del stage.work
    assert stage.make() == ["a"]


def test_cut_journal_line_costs_one_image_once(stage):
    stage.make()
    stage.journal.write_text(stage.journal.read_text()[:-20])
    assert stage.make() == ["c"]
    assert stage.make() == []
    assert read_json(stage.manifest)["count"] == 6


def test_empty_shard(stage):
    assert stage.make({}) == []
    assert read_json(stage.manifest)["count"] == 0
    assert read_manifests([stage.manifest]) == {}


def test_facts_stand_before_the_files(tmp_path):
    write_manifest(tmp_path / "m.json", ORIGIN, tmp_path / "maps", {"b": "2", "a": "1"}, source="x")
    manifest = read_json(tmp_path / "m.json")
    assert list(manifest) == ["stage", "folder", "count", "source", "files", "provenance"]
    assert list(manifest["files"]) == ["a", "b"]


def test_digest_is_independent_of_sharding(tmp_path):
    files = {f"{number}.png": f"sha{number}" for number in range(7)}

    def digest(shards: int, files: dict[str, str] = files) -> str:
        paths = [tmp_path / f"{shards}_{number}.json" for number in range(shards)]
        for number, path in enumerate(paths):
            part = dict(list(files.items())[number::shards])
            write_manifest(path, ORIGIN, tmp_path / f"maps{shards}", part)
        return manifests_digest(reversed(paths))

    assert digest(1) == digest(3) == digest(9)
    assert digest(1) != digest(1, files | {"3.png": "other"})
    assert digest(1) != digest(1, files | {"8.png": "more"})


@pytest.mark.parametrize("temporary", [False, True])
def test_only_temporary_files_may_be_gone(tmp_path, temporary):
    folder = tmp_path / "logits"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / name).write_text(name)
    manifest = tmp_path / "shard.json"
    files = {path.name: digest_file(path) for path in folder.iterdir()}
    write_manifest(manifest, ORIGIN, folder, files, temporary=temporary)

    def damaged() -> list[str]:
        return damaged_files(manifest, Contents(tmp_path / "contents.json"))

    before = artifact_contents([manifest])
    assert damaged() == []
    (folder / "a").unlink()
    assert damaged() == ["a"]  # of a folder that is there, every file is
    shutil.rmtree(folder)
    assert damaged() == ([] if temporary else ["a", "b"])
    assert artifact_contents([manifest]) == before


def test_a_failing_image_among_many_ends_the_shard_and_keeps_what_is_finished(tmp_path):
    def work(image_id: str) -> list[str]:
        if image_id == "02":
            raise ValueError("bad image")
        write_bytes(tmp_path / "images" / f"{image_id}.png", b"x")
        return [f"{image_id}.png"]

    keys = {f"{n:02d}": [n] for n in range(50)}
    manifest = tmp_path / "1-of-1.json"
    with pytest.raises(ValueError, match="bad image"), threads(1) as pool:
        make_shard(manifest, ORIGIN, tmp_path / "images", keys, work, pool)
    assert not manifest.exists()
    journal = (tmp_path / "1-of-1.journal").read_text().splitlines()
    assert {"00", "01"} <= {json.loads(line)["id"] for line in journal if line}


def test_the_journal_has_room_on_a_disk_that_images_fill(stage):
    sizes = []

    def work(image_id: str) -> list[str]:
        sizes.append(stage.journal.stat().st_size)
        return []

    stage.work = work
    stage.make()
    assert sizes[0] > 0


@pytest.mark.parametrize(
    "line", [b"\xff\xfe\x00", b"[]", b"3", b'{"id": "a"}', b'{"id": [], "key": 1, "files": {}}',
             b'{"id": "a", "key": "k", "files": 3}', b"[" * 100_000]
)  # fmt: skip
def test_damaged_lines_of_a_journal_count_as_none(tmp_path, line):
    path = tmp_path / "journal"
    write_bytes(tmp_path / "a.png", b"x")
    files = Journal(path, tmp_path).add("a", "k", ["a.png"])
    path.write_bytes(path.read_bytes() + line + b"\n")
    assert Journal(path, tmp_path).files("a", "k") == files
