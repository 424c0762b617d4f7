"""The lineage of artifacts: what was it made of, and what is no longer what it was."""

import json
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.experiment_tree import CLASSES, Tree, make_dataset
from i2crc.artifacts.lineage import (
    CHANGED,
    MISSING,
    UNCHANGED,
    find_artifact,
    flatten,
    state,
    trace,
)
from i2crc.data.index import indexes_of, photo
from i2crc.runtime.atomic import read_json, write_json
from i2crc.runtime.errors import InputError

CHAIN = [
    "score",
    "gen_gt",
    "infer_cam",
    "train_classifier",
    "download_saliency",
    "prepare_data",
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A project with a finished experiment; tests must leave it as it is."""
    project = tmp_path_factory.mktemp("lineage") / "project"
    project.mkdir()
    make_dataset(project)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        return project, Tree(project)


@pytest.fixture
def tree(finished, tmp_path, monkeypatch):
    """A copy that a test may damage, as the working directory."""
    project, made = finished
    copy = shutil.copytree(project, tmp_path / "project")
    monkeypatch.chdir(copy)
    return made


def order(path):
    """The scripts behind a file, each once."""
    return list(dict.fromkeys(artifact.script for artifact in trace(path)))


def states(path):
    """State -> names, of all inputs and listed files behind an artifact."""
    found = {}
    for artifact in trace(path):
        for file, sha in (*artifact.inputs.items(), *artifact.files.items()):
            found.setdefault(state(file, sha), set()).add(file.name)
    return found


def test_from_the_score_to_the_list(tree):
    assert order(tree.score) == CHAIN
    assert states(tree.score).keys() == {UNCHANGED}


def test_each_artifact_is_found_once(tree):
    paths = [artifact.path for artifact in trace(tree.score)]
    assert len(paths) == len(set(paths)) == 1 + 2 + 2 + 1 + 1 + 3


def test_each_artifact_comes_before_what_it_was_made_from(tree):
    artifacts = trace(tree.score)
    places = {artifact.path: number for number, artifact in enumerate(artifacts)}
    for number, artifact in enumerate(artifacts):
        assert all(number < places[path] for path in artifact.inputs if path in places)


def test_an_image_is_made_by_the_manifest_that_lists_it(tree):
    manifests = [trace(tree.folder / f"labels/initial/images/a{n}.png")[0].path for n in range(6)]
    assert {path.name for path in manifests} == {"1-of-2.json", "2-of-2.json"}
    for number, path in enumerate(manifests):
        assert f"a{number}.png" in read_json(path)["files"]
    assert order(tree.folder / "labels/initial/images/a0.png") == CHAIN[1:]


def test_weights_list_themselves(tree):
    assert order(tree.weights) == ["train_classifier", "download_saliency", "prepare_data"]
    tree.weights.unlink()
    assert states(tree.weights)[MISSING] == {"weights.safetensors"}


def test_a_deleted_image_still_has_a_maker(tree):
    image = tree.folder / "labels/initial/images/a0.png"
    image.unlink()
    assert trace(image)[0].script == "gen_gt"
    assert states(image)[MISSING] == {"a0.png"}


def test_an_edited_image_is_seen_from_all_after_it(tree):
    (tree.folder / "cams/images/a1_1.png").write_bytes(b"edited")
    for path in (tree.score, tree.folder / "labels/initial/images/a1.png"):
        assert states(path)[CHANGED] == {"a1_1.png"}


def test_of_several_manifests_that_list_an_image_the_newest_counts(tree):
    """Those of another number of shards are still there."""
    image = tree.folder / "labels/initial/images/a0.png"
    current = trace(image)[0].path
    old = current.with_name("1-of-1.json")
    shutil.copy(current, old)
    os.utime(old, (1, 1))
    assert trace(image)[0].path == current


def test_a_changed_input_is_seen(tree):
    with open(tree.weights, "ab") as file:
        file.write(b"more")
    assert states(tree.score)[CHANGED] == {"weights.safetensors"}


def test_a_missing_input_ends_its_branch(tree):
    tree.saliency.unlink()
    assert states(tree.score)[MISSING] == {"manifest.json"}
    assert "download_saliency" not in order(tree.score)


def test_another_run_that_made_the_same_is_no_change(tree):
    content = read_json(tree.index)
    content["provenance"]["start"] = "2001-01-01T00:00:00+00:00"
    write_json(tree.index, content)
    assert states(tree.score).keys() == {UNCHANGED}


def test_provenance_that_runs_in_a_circle_ends(tree):
    content = read_json(tree.index)
    content["provenance"]["inputs"]["../scores/initial_labels.json"] = "0"
    write_json(tree.index, content)
    assert sorted(order(tree.score)) == sorted(CHAIN)


def test_files_that_nothing_is_recorded_of(tree, tmp_path):
    unknown = tree.folder / "labels/initial/images/other.png"
    unknown.write_bytes(b"")
    (tmp_path / "plain.json").write_text(json.dumps({"files": {"x.png": "0"}}))
    for path, reason in (
        (tree.folder, "nothing is recorded"),
        (Path("/"), "nothing is recorded"),
        (unknown, "nothing is recorded"),
        (tree.folder / "gone.png", "no such file"),
        (tmp_path / "plain.json", "nothing is recorded"),
        (tmp_path / "x.png", "no such file"),
    ):
        with pytest.raises(InputError, match=f"{path.name}: {reason}.*; give a file"):
            trace(path)


def test_photographs_are_found_from_anywhere(tree, tmp_path, monkeypatch):
    index = (tmp_path / "project" / tree.index).resolve()
    monkeypatch.chdir(tmp_path)
    [(artifact, content)] = indexes_of([find_artifact(index)])
    assert content.classes == CLASSES
    for entry in content.images:
        assert photo(entry, artifact.path) == tmp_path / "project" / entry.image


leaves = st.none() | st.integers() | st.lists(st.integers(), max_size=2)
keys = st.text("abc", min_size=1, max_size=2)
nested = st.recursive(leaves, lambda inner: st.dictionaries(keys, inner, min_size=1), max_leaves=9)


@given(st.dictionaries(keys, nested))
def test_flatten_keeps_every_value(value):
    def count(inner):
        return sum(map(count, inner.values())) if isinstance(inner, dict) else 1

    flat = flatten(value)
    assert len(flat) == count(value)
    for key, leaf in flat.items():
        found = value
        for part in key.split("."):
            found = found[part]
        assert found == leaf
