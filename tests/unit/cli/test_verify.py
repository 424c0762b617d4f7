"""`i2crc verify`: every listed file is hashed, and what changed is named with its list."""

import os
import shutil
from argparse import Namespace

import pytest

from helpers.experiment_tree import Tree, make_dataset
from i2crc.artifacts.provenance import content_digest
from i2crc.cli import verify
from i2crc.runtime.atomic import read_json, write_json
from i2crc.runtime.errors import InputError


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project with a finished experiment; tests must leave it as it is."""
    project = tmp_path_factory.mktemp("verify") / "project"
    project.mkdir()
    make_dataset(project)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        return project, Tree(project)


@pytest.fixture
def tree(made, tmp_path, monkeypatch):
    """A copy that a test may damage, as the working directory."""
    project, tree = made
    monkeypatch.chdir(shutil.copytree(project, tmp_path / "project"))
    return tree


@pytest.fixture
def verified(tree, capsys):
    """A function that verifies the experiment and returns the status and the lines."""

    def verify_tree() -> tuple[int, list[str]]:
        status = verify.main(Namespace(results=tree.folder))
        return status, capsys.readouterr().out.splitlines()

    return verify_tree


def test_all_files_are_checked(tree, verified):
    manifests = [tree.saliency, *tree.shards("cams"), *tree.shards("labels/initial")]
    # The classifier and the scores of images have a .provenance file of their own.
    count = sum(len(read_json(path)["files"]) for path in manifests) + 2
    assert verified() == (0, [f"{count} files checked: all are as recorded"])


@pytest.mark.parametrize(
    ("file", "listed_in"),
    [
        ("saliency/images/a0.png", "saliency/manifest.json"),
        ("cams/images/a1_1.png", None),
        ("labels/initial/images/a2.png", None),
        ("classifier/weights.safetensors", "classifier/weights.safetensors.provenance"),
        ("scores/initial_labels.images.csv", "scores/initial_labels.images.csv.provenance"),
    ],
)
def test_a_file_that_is_changed_or_missing_is_named_with_its_list(tree, verified, file, listed_in):
    path = tree.folder / file
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))  # the same size
    status, (line, count, remedy) = verified()
    assert status == 1
    assert line.startswith(f"{path}: CHANGED; listed in {tree.folder / (listed_in or '')}")
    assert "files checked: 1 missing, changed or damaged" in count
    assert "Delete the changed ones" in remedy
    path.unlink()
    status, (line, *_) = verified()
    assert status == 1
    assert line.startswith(f"{path}: MISSING; listed in ")


def test_all_problems_are_found_in_one_go(tree, verified):
    (tree.folder / "saliency/images/a0.png").unlink()
    (tree.folder / "saliency/images/a1.png").write_bytes(b"edited")
    tree.weights.unlink()
    tree.shard("cams", 0).write_text("{")
    status, (*lines, count, _) = verified()
    assert status == 1
    assert "checked: 4 missing, changed or damaged" in count
    for words in ("cams/1-of-2.json: not valid JSON", "a0.png: MISSING", "a1.png: CHANGED",
                  "weights.safetensors: MISSING"):  # fmt: skip
        assert sum(words in line for line in lines) == 1


def test_each_file_is_checked_once_though_some_are_json(tree, verified):
    path = tree.shard("labels/initial", 0)
    manifest = read_json(path)
    folder = path.parent / manifest["folder"]
    _, (before,) = verified()
    for name in ("doubt.json", "manifest.json", "1-of-2.json"):
        write_json(folder / name, 0.5)
        manifest["files"][name] = content_digest(folder / name)
    write_json(path, manifest)
    status, (after,) = verified()
    assert status == 0
    assert int(after.split()[0]) == int(before.split()[0]) + 3


def test_manifests_of_an_earlier_number_of_shards_are_left_out(tree, verified):
    """The labels were made again with one shard and other settings."""
    earlier = tree.shards("labels/initial")
    manifests = [read_json(path) for path in earlier]
    _, before = verified()
    for path, manifest in zip(earlier, manifests, strict=True):
        write_json(path, {**manifest, "files": dict.fromkeys(manifest["files"], "0" * 64)})
        os.utime(path, (1, 1))
    files = {name: sha for manifest in manifests for name, sha in manifest["files"].items()}
    write_json(earlier[0].with_name("1-of-1.json"), {**manifests[0], "files": files})
    assert verified() == (0, before)


def test_a_folder_of_no_run_is_refused_with_a_remedy(tmp_path):
    with pytest.raises(InputError, match=r"none: no manifest.*; give the folder .* results/demo"):
        verify.main(Namespace(results=tmp_path / "none"))


def test_a_file_that_cannot_be_read_does_not_hide_the_others(tree, verified, monkeypatch):
    bad = (tree.folder / "saliency/images/a0.png").absolute()

    def digest(path):
        if path == bad:
            raise OSError(5, "Input/output error", str(path))
        return content_digest(path)

    monkeypatch.setattr("i2crc.artifacts.lineage.content_digest", digest)
    (tree.folder / "saliency/images/a1.png").unlink()
    status, lines = verified()
    assert status == 1
    assert any("a0.png: cannot be read (Input/output error)" in line for line in lines)
    assert any("a1.png: MISSING" in line for line in lines)
