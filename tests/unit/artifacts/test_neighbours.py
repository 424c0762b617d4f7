"""What an experiment takes over from those beside it, and what it must not."""

import os
import shutil
from pathlib import Path

import pytest

from i2crc.artifacts import journal
from i2crc.artifacts.manifest import make_shard, threads
from i2crc.artifacts.neighbours import in_neighbours, take
from i2crc.artifacts.provenance import Origin
from i2crc.runtime.atomic import read_json, write_bytes

KEYS = {"a": ["1"], "b": ["1"]}


class Experiment:
    """An experiment with one stage, which writes a file for each image and notes which."""

    def __init__(self, results: Path, name: str) -> None:
        self.folder = results / name / "cams/maps"
        self.manifest = results / name / "cams/1-of-1.json"
        self.folder.mkdir(parents=True)
        (results / name / "config.yaml").write_text("")

    def make(self, keys=KEYS) -> list[str]:
        """The images that were computed."""
        made = []

        def work(image_id: str) -> list[str]:
            content = f"{image_id} of {keys[image_id]}"
            write_bytes(self.folder / f"{image_id}.png", content.encode())
            made.append(image_id)
            return [f"{image_id}.png"]

        origin = Origin(Path(__file__), [], {"threshold": 0.5})
        prepare = lambda: (work, threads(1))  # noqa: E731
        make_shard({self.manifest: self.folder}, origin, self.folder, keys, prepare)
        return sorted(made)

    def files(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in self.folder.iterdir()}


@pytest.fixture
def first(tmp_path):
    experiment = Experiment(tmp_path, "first")
    assert experiment.make() == ["a", "b"]
    return experiment


def test_what_another_experiment_has_finished_is_taken_over(first, tmp_path):
    second = Experiment(tmp_path, "second")
    assert second.make() == []
    assert second.files() == first.files()
    made, taken = read_json(first.manifest), read_json(second.manifest)
    assert taken == made  # with the time that it took
    assert os.path.samefile(first.folder / "a.png", second.folder / "a.png")
    shutil.rmtree(tmp_path / "first")
    second.manifest.unlink()
    assert second.make() == []
    assert read_json(second.manifest) == made


def test_other_inputs_are_computed_and_leave_the_other_experiment_as_it_was(first, tmp_path):
    before = first.files()
    second = Experiment(tmp_path, "second")
    assert second.make() == []
    assert second.make({"a": ["2"], "b": ["1"]}) == ["a"]
    assert second.files() == {**before, "a.png": "a of ['2']"}
    assert first.files() == before


def test_a_file_that_is_replaced_meanwhile_is_not_taken_over(first, tmp_path, monkeypatch):
    def replaced(source, target):
        write_bytes(source, b"of other settings")
        take(source, target)

    monkeypatch.setattr(journal, "take", replaced)
    second = Experiment(tmp_path, "second")
    assert second.make() == ["a", "b"]
    assert second.files() == {"a.png": "a of ['1']", "b.png": "b of ['1']"}


def test_a_damaged_file_is_not_taken_over(first, tmp_path):
    (first.folder / "a.png").write_text("damaged")
    second = Experiment(tmp_path, "second")
    assert second.make() == ["a"]


@pytest.mark.parametrize("name", ["first", "second"])
def test_a_folder_without_settings_is_no_experiment(first, tmp_path, name):
    second = Experiment(tmp_path, "second")
    (tmp_path / name / "config.yaml").unlink()
    assert in_neighbours(second.manifest) == []
    assert second.make() == ["a", "b"]


def test_without_links_a_file_is_copied(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise PermissionError("no links here")

    (tmp_path / "source").write_text("finished")
    (tmp_path / "target").write_text("old")
    os.utime(tmp_path / "source", (1, 1))
    monkeypatch.setattr(os, "link", refuse)
    take(tmp_path / "source", tmp_path / "target")
    assert (tmp_path / "target").read_text() == "finished"
    assert (tmp_path / "target").stat().st_mtime == 1
