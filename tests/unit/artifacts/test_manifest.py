"""Manifests and shards: what is made again and what is not."""

import json
import os
import re
import shutil
import signal
import sys
import time
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from i2crc.artifacts.damage import damaged_files, forget_damaged
from i2crc.artifacts.journal import FileRecord, ImageEntry, Journal
from i2crc.artifacts.manifest import (
    make_shard,
    manifests_digest,
    read_manifests,
    threads,
    write_manifest,
)
from i2crc.artifacts.provenance import Origin, content_digest, provenance_file, write_beside
from i2crc.runtime.atomic import digest_bytes, digest_file, read_json, write_bytes, write_json
from i2crc.runtime.errors import WorkerCrashError, explain


def journal_ids(path: Path) -> set[str]:
    """Return the ids of the images in the lines of a journal that are whole."""
    found = set()
    for line in path.read_bytes().splitlines():
        with suppress(ValueError):
            found.add(ImageEntry.model_validate_json(line).id)
    return found


KEYS = {"a": ["1"], "b": ["1"], "c": ["1"]}
ORIGIN = Origin(Path(__file__), [], {"threshold": 0.5})


class Maker:
    """A shard of a stage that writes two files per image and remembers for which it was asked."""

    def __init__(self, root: Path, name: str = "shard"):
        self.folder = root / "maps"
        self.manifest = root / f"{name}.json"
        self.journal = root / f"{name}.journal"
        self.fails_at = None
        self.prepared = 0

    def make(self, keys=KEYS, workers=1) -> list[str]:
        """The images that were made."""
        self.made = []

        def prepare():
            self.prepared += 1
            self.folder.mkdir(exist_ok=True)
            return self.work, threads(workers)

        make_shard({self.manifest: self.folder}, ORIGIN, self.folder, keys, prepare)
        return sorted(self.made)

    def work(self, image_id: str) -> list[str]:
        if image_id == self.fails_at:
            raise RuntimeError(image_id)
        names = [f"{image_id}_{part}.txt" for part in range(2)]
        for name in names:
            (self.folder / name).write_text(name)
        self.made.append(image_id)
        return names


def end_by(number: int, image_id: str) -> None:
    os.kill(os.getpid(), number)


class ImpatientPool(ProcessPoolExecutor):
    """A pool that takes the next image when the last one is done or its worker has crashed."""

    last: tuple[Future, ...] = ()

    def submit(self, *work) -> Future:
        wait(self.last)
        self.last = (super().submit(*work),)
        return self.last[0]


@pytest.fixture
def shard(tmp_path):
    return Maker(tmp_path)


def test_manifest_tells_every_file(shard):
    assert shard.make() == ["a", "b", "c"]
    manifest = read_json(shard.manifest)
    assert list(manifest) == ["stage", "folder", "count", "files", "sizes", "provenance"]
    assert (manifest["stage"], manifest["folder"], manifest["count"]) == (
        "test_manifest",
        "maps",
        6,
    )
    assert manifest["provenance"]["settings"] == {"threshold": 0.5}
    assert list(manifest["files"]) == sorted(path.name for path in shard.folder.iterdir())
    assert manifest["sizes"] == {name: len(name) for name in manifest["files"]}
    for name, (path, sha) in read_manifests([shard.manifest]).items():
        assert path == shard.folder / name
        assert sha == digest_file(path)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
def test_a_worker_that_ends_before_all_images_are_queued(tmp_path, number):
    def prepare():
        pool = ImpatientPool(2, get_context("spawn"))
        return partial(end_by, number), pool

    manifest = tmp_path / "shard.json"
    expected = BrokenProcessPool if number == signal.SIGKILL else WorkerCrashError
    with pytest.raises(expected) as error:
        make_shard({manifest: tmp_path}, ORIGIN, tmp_path, KEYS, prepare)
    killed = number == signal.SIGKILL
    words = "was killed, most likely" if killed else f"compiled code ({number.name} at one of a)"
    assert words in explain(error.value)


def test_pool_makes_the_same(shard, tmp_path):
    shard.make()
    (tmp_path / "other").mkdir()
    other = Maker(tmp_path / "other")
    assert other.make(workers=2) == ["a", "b", "c"]
    assert content_digest(other.manifest) == content_digest(shard.manifest)


def test_unchanged_images_are_skipped_and_nothing_is_loaded(shard):
    shard.make()
    before = shard.manifest.read_bytes()
    shard.manifest.unlink()
    assert shard.make() == []
    assert shard.prepared == 1
    assert shard.manifest.read_bytes() == before


def test_touched_files_are_not_remade(shard):
    shard.make()
    before = shard.manifest.read_bytes()
    for path in shard.folder.iterdir():
        os.utime(path, (1, 1))
    assert shard.make() == []
    assert shard.manifest.read_bytes() == before


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_text("edited"),
        lambda path: path.write_text(path.name[::-1]),
        lambda path: path.unlink(),
    ],
    ids=["edited", "edited to the same size", "deleted"],
)
def test_damaged_files_are_remade(shard, damage):
    shard.make()
    before = shard.manifest.read_bytes()
    damage(shard.folder / "b_1.txt")
    assert shard.make() == ["b"]
    # The same bytes, so that Snakemake starts no stage after this one.
    assert shard.manifest.read_bytes() == before
    assert shard.make() == []


def test_changed_key_remakes_its_image(shard):
    shard.make()
    assert shard.make(KEYS | {"c": ["2"]}) == ["c"]
    assert shard.make(KEYS | {"c": ["2"]}) == []


def test_going_back_reuses_only_what_is_still_there(shard):
    """Here both keys make the same bytes, so the files of the first key count again."""
    shard.make()
    before = shard.manifest.read_bytes()
    shard.make(KEYS | {"c": ["2"]})
    assert shard.make() == []
    assert shard.manifest.read_bytes() == before


def test_files_of_another_key_are_never_reused(shard):
    shard.make()
    work = shard.work
    shard.work = lambda image_id: [
        (shard.folder / name).write_text("other"[: len(name)].ljust(len(name))) and name
        for name in work(image_id)
    ]
    shard.make(KEYS | {"c": ["2"]})
    shard.work = work
    assert shard.make() == ["c"]
    assert (shard.folder / "c_0.txt").read_text() == "c_0.txt"


def test_other_settings_and_other_code_remake_all(shard, tmp_path, monkeypatch):
    shard.make()
    script = tmp_path / "script.py"
    for folder, changed in enumerate(
        (Origin(Path(__file__), [], {"threshold": 0.6}), Origin(script, [], {}))
    ):
        script.write_text("CHANGED = 1\n")
        monkeypatch.setattr(sys.modules[__name__], "ORIGIN", changed)
        assert shard.make() == ["a", "b", "c"], folder


def test_dropped_and_added_images(shard):
    shard.make()
    assert shard.make({"a": ["1"], "d": ["1"]}) == ["d"]
    assert set(read_json(shard.manifest)["files"]) == {
        "a_0.txt", "a_1.txt", "d_0.txt", "d_1.txt",
    }  # fmt: skip


@pytest.mark.parametrize("workers", [1, 2])
def test_finished_work_survives_an_error(shard, workers):
    shard.fails_at = "c"
    with pytest.raises(RuntimeError, match="c"):
        shard.make(workers=workers)
    assert not shard.manifest.exists()
    shard.fails_at = None
    assert shard.make() == ["c"]


def test_work_finished_before_the_error_survives_it_in_any_order(shard):
    def work(image_id: str) -> list[str]:
        if image_id == "a":
            while len(shard.made) < 2:
                time.sleep(0.01)
            time.sleep(0.1)
            raise RuntimeError(image_id)
        return Maker.work(shard, image_id)

    shard.work = work
    with pytest.raises(RuntimeError, match="a"):
        shard.make(workers=3)
    del shard.work
    assert shard.make() == ["a"]


def test_cut_journal_line_costs_one_image_once(shard):
    shard.fails_at = "c"
    with pytest.raises(RuntimeError):
        shard.make()
    shard.fails_at = None
    shard.journal.write_text(shard.journal.read_text()[:-20])
    assert shard.make() == ["b", "c"]
    assert shard.make() == []
    assert read_json(shard.manifest)["count"] == 6


@settings(max_examples=30)
@given(st.floats(0, 1))
def test_a_kill_at_any_byte_of_the_journal_loses_only_what_was_not_noted(tmp_path_factory, share):
    shard = Maker(tmp_path_factory.mktemp("kill"))
    shard.make()
    before = content_digest(shard.manifest)
    whole = shard.journal.read_bytes()
    shard.journal.write_bytes(whole[: int(share * len(whole))])
    shard.manifest.unlink()
    noted = journal_ids(shard.journal)
    assert set(shard.make()) == KEYS.keys() - noted
    assert content_digest(shard.manifest) == before
    assert shard.make() == []


def test_empty_shard(shard):
    assert shard.make({}) == []
    assert shard.prepared == 0
    assert read_json(shard.manifest)["count"] == 0
    assert read_manifests([shard.manifest]) == {}
    before = shard.manifest.read_bytes()
    shard.make({})
    assert shard.manifest.read_bytes() == before


def test_images_without_files_are_finished_as_well(shard):
    """An image without classes has no attention map."""
    asked = []
    shard.work = lambda image_id: asked.append(image_id) or []
    shard.make()
    shard.make()
    assert asked == ["a", "b", "c"]


def test_manifests_of_two_folders_have_their_own_files_and_inputs(tmp_path):
    index = tmp_path / "data" / "index.json"
    write_json(index, {})
    origin = Origin(Path(__file__), [index])
    manifests = {
        tmp_path / "out/1-of-1.json": tmp_path / "out/images",
        tmp_path / "out/logits/1-of-1.json": tmp_path / "out/logits/maps",
    }

    def work(image_id: str) -> list[str]:
        names = [f"images/{image_id}.png", f"logits/maps/{image_id}.npz"]
        for name in names:
            write_bytes(tmp_path / "out" / name, name.encode())
        return names

    make_shard(manifests, origin, tmp_path / "out", KEYS, lambda: (work, threads(1)))
    for path, folder in manifests.items():
        manifest = read_json(path)
        assert manifest["count"] == 3
        assert all((folder / name).is_file() for name in manifest["files"])
        [(name, sha)] = manifest["provenance"]["inputs"].items()
        assert (path.parent / name).resolve() == index
        assert sha == digest_bytes(b"{}\n")


def test_inputs_that_change_nothing_are_recorded_anew(shard, tmp_path, monkeypatch):
    index = tmp_path / "index.json"
    for content in ("1", "2"):
        index.write_text(content)
        monkeypatch.setattr(sys.modules[__name__], "ORIGIN", Origin(Path(__file__), [index]))
        made = shard.make()
    assert made == []
    facts = read_json(shard.manifest)["provenance"]
    assert facts["inputs"] == {"index.json": digest_bytes(b"2")}


def test_facts_stand_before_the_files(tmp_path):
    files = {"b": FileRecord("2", 20), "a": FileRecord("1", 10)}
    write_manifest(tmp_path / "m.json", ORIGIN, tmp_path / "maps", files, source="x")
    manifest = read_json(tmp_path / "m.json")
    assert list(manifest) == ["stage", "folder", "count", "source", "files", "sizes", "provenance"]
    assert list(manifest["files"].items()) == [("a", "1"), ("b", "2")]
    assert list(manifest["sizes"].items()) == [("a", 10), ("b", 20)]


def test_digest_is_independent_of_sharding(tmp_path):
    files = {f"{number}.png": FileRecord(f"sha{number}", 1) for number in range(7)}

    def digest(shards: int, files: dict[str, FileRecord] = files) -> str:
        paths = [tmp_path / f"{shards}_{number}.json" for number in range(shards)]
        for number, path in enumerate(paths):
            part = dict(list(files.items())[number::shards])
            write_manifest(path, ORIGIN, tmp_path / f"maps{shards}", part)
        return manifests_digest(reversed(paths))

    assert digest(1) == digest(3) == digest(9)
    assert digest(1) != digest(1, files | {"3.png": FileRecord("other", 1)})
    assert digest(1) != digest(1, files | {"8.png": FileRecord("more", 1)})


def test_a_failing_image_among_many_ends_the_shard_and_keeps_what_is_finished(tmp_path):
    def work(image_id: str) -> list[str]:
        if image_id == "02":
            raise ValueError("bad image")
        write_bytes(tmp_path / "images" / f"{image_id}.png", b"x")
        return [f"{image_id}.png"]

    keys = {f"{n:02d}": [n] for n in range(50)}
    manifest, folder = tmp_path / "1-of-1.json", tmp_path / "images"
    with pytest.raises(ValueError, match="bad image"):
        make_shard({manifest: folder}, ORIGIN, folder, keys, lambda: (work, threads(1)))
    assert not manifest.exists()
    assert {"00", "01"} <= journal_ids(tmp_path / "1-of-1.journal")


def test_the_journal_has_room_on_a_disk_that_images_fill(shard):
    sizes = []

    def work(image_id: str) -> list[str]:
        sizes.append(shard.journal.stat().st_size)
        return []

    shard.work = work
    shard.make()
    assert sizes[0] > 0


@pytest.mark.parametrize(
    "line", [b"\xff\xfe\x00", b"[]", b"3", b'{"id": "a"}', b'{"id": [], "key": 1, "files": {}}',
             b'{"id": "a", "key": "k", "files": 3}', b'{"id": "a", "key": "k", "files": {"a": 3}}',
             b'{"id": "a", "key": "k", "files": []}', b'{"made_of": 3}', b"[" * 100_000]
)  # fmt: skip
def test_damaged_lines_of_a_journal_are_ignored(tmp_path, line):
    path = tmp_path / "journal"
    write_bytes(tmp_path / "a.png", b"x")
    files = Journal(path, tmp_path).add("a", "k", ["a.png"])
    path.write_bytes(path.read_bytes() + line + b"\n")
    assert Journal(path, tmp_path).finished({"a": "k"}) == {"a": files}
    assert Journal(path, tmp_path).provenance("3") is None
    assert journal_ids(path) == {"a"}


def parts(count: int) -> list[dict[str, list]]:
    """The keys of twelve images, dealt out to shards."""
    keys = {f"{number:02d}": ["1"] for number in range(12)}
    return [dict(list(keys.items())[number::count]) for number in range(count)]


def make_all(root: Path, count: int) -> list[str]:
    """Make all shards; the images that were made."""
    made = []
    for number, keys in enumerate(parts(count), 1):
        made += Maker(root, f"{number}-of-{count}").make(keys)
    return sorted(made)


@settings(max_examples=15)
@given(st.lists(st.integers(1, 5), min_size=2, max_size=4))
def test_another_number_of_shards_makes_nothing(tmp_path_factory, counts):
    root = tmp_path_factory.mktemp("shards")
    assert len(make_all(root, counts[0])) == 12
    for count in counts[1:]:
        assert make_all(root, count) == []
        manifests = [root / f"{number}-of-{count}.json" for number in range(1, count + 1)]
        assert len(read_manifests(manifests)) == 24
    # Taken over into their own journals.
    for path in root.glob("*.journal"):
        if not path.name.endswith(f"-of-{counts[-1]}.journal"):
            path.unlink()
    assert make_all(root, counts[-1]) == []


def test_a_journal_of_former_shards_does_not_count_for_files_made_anew(tmp_path, monkeypatch):
    """Two shards, then one with other settings, then two again with the first settings."""
    make_all(tmp_path, 2)
    monkeypatch.setattr(sys.modules[__name__], "ORIGIN", Origin(Path(__file__), [], {"other": 1}))
    monkeypatch.setattr(Maker, "work", upper_work)
    assert len(make_all(tmp_path, 1)) == 12
    monkeypatch.undo()
    assert len(make_all(tmp_path, 2)) == 12
    for path, sha in read_manifests(tmp_path.glob("*-of-2.json")).values():
        assert path.read_text() == path.name
        assert sha == digest_file(path)


def upper_work(self: Maker, image_id: str) -> list[str]:
    """Files of the same sizes with other content."""
    names = [f"{image_id}_{part}.txt" for part in range(2)]
    for name in names:
        (self.folder / name).write_text(name.upper())
    self.made.append(image_id)
    return names


def test_temporary_journals_of_other_shards_are_not_read(tmp_path):
    (tmp_path / ".2-of-2.host-1.tmp.journal").symlink_to(tmp_path / "vanished")
    shard = Maker(tmp_path, "1-of-2")
    assert shard.make() == ["a", "b", "c"]


@pytest.fixture
def results(tmp_path):
    """Results with a shard of attention maps, an index and the weights of the classifier."""
    shard = Maker(tmp_path / "cams", "1-of-1")
    shard.manifest.parent.mkdir()
    shard.make()
    write_json(tmp_path / "data/train.json", {"images": [], "problems": []})
    weights = tmp_path / "classifier/weights.safetensors"
    write_bytes(weights, b"weights")
    write_beside(weights, {})
    return tmp_path


def test_sound_results_are_kept(results):
    assert forget_damaged(results) == []
    assert (results / "cams/1-of-1.json").is_file()
    assert (results / "classifier/weights.safetensors").is_file()


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (
            lambda r: (r / "cams/maps/b_1.txt").unlink(),
            r"cams/1-of-1\.json: missing .*: 1 .*b_1\.txt",
        ),
        (
            lambda r: (r / "cams/maps/b_1.txt").write_text(""),
            r"cams/1-of-1\.json: .* another size: 1 .*b_1",
        ),
        (lambda r: shutil.rmtree(r / "cams/maps"), r"cams/1-of-1\.json: missing .*: 6 .*a_0\.txt"),
        (lambda r: (r / "cams/1-of-1.json").write_text("{"), r"cams/1-of-1\.json: not valid JSON"),
        (lambda r: (r / "cams/1-of-1.json").write_text("[]"), r"cams/1-of-1\.json: damaged"),
        (
            lambda r: (r / "classifier/weights.safetensors").write_text("cut"),
            r"classifier/weights\.safetensors: .* another size: 1",
        ),
        (
            lambda r: provenance_file(r / "classifier/weights.safetensors").write_text("3"),
            r"classifier/weights\.safetensors: .*weights\.safetensors\.provenance: damaged",
        ),
        (
            lambda r: write_json(r / "data/train.json", {"problems": [{"file": "a.jpg"}]}),
            r"data/train\.json: it records problems",
        ),
    ],
)
def test_what_is_damaged_is_forgotten_and_named(results, damage, named):
    damage(results)
    [sentence] = forget_damaged(results)
    assert re.search(named, sentence), sentence
    path = sentence.split(": ")[0]
    assert not Path(path).exists()
    assert forget_damaged(results) == []


def test_a_damaged_image_is_made_alone_after_it_was_forgotten(results):
    before = (results / "cams/1-of-1.json").read_bytes()
    (results / "cams/maps/b_1.txt").unlink()
    forget_damaged(results)
    assert Maker(results / "cams", "1-of-1").make() == ["b"]
    assert (results / "cams/1-of-1.json").read_bytes() == before


def test_twenty_thousand_files_are_looked_at_in_seconds(tmp_path):
    folder = tmp_path / "cams" / "maps"
    folder.mkdir(parents=True)
    names = [f"{number:06d}.png" for number in range(20_000)]
    for name in names:
        os.close(os.open(folder / name, os.O_CREAT | os.O_WRONLY))
    record = FileRecord(digest_bytes(b""), 0)
    for number in range(4):
        part = {name: record for name in names[number::4]}
        write_manifest(tmp_path / f"cams/{number + 1}-of-4.json", ORIGIN, folder, part)
    start = time.monotonic()
    assert forget_damaged(tmp_path) == []
    assert time.monotonic() - start < 1


def test_a_manifest_without_sizes_is_sound(tmp_path):
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({"folder": "maps", "files": {"a.png": "0"}}))
    assert damaged_files(path) == []
