"""`i2crc explain`: what it prints of an artifact, in words."""

import re
import shutil
from argparse import Namespace
from pathlib import Path

import pytest

from helpers.experiment_tree import Tree, make_dataset, script
from i2crc.artifacts.lineage import Artifact
from i2crc.artifacts.manifest import make_shard, threads
from i2crc.artifacts.provenance import Origin
from i2crc.artifacts.stages import STAGES
from i2crc.cli import explain
from i2crc.config.schema import Config, PseudoLabels
from i2crc.data.index import read_index
from i2crc.runtime.atomic import read_json, write_bytes, write_json


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A project with a finished experiment; tests must leave it as it is."""
    project = tmp_path_factory.mktemp("explain") / "project"
    project.mkdir()
    make_dataset(project)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        return project, Tree(project, settings=PseudoLabels(conflict_threshold=0.8))


@pytest.fixture
def tree(finished, tmp_path, monkeypatch):
    """A copy that a test may damage, as the working directory."""
    project, made = finished
    monkeypatch.chdir(shutil.copytree(project, tmp_path / "project"))
    return made


@pytest.fixture
def explained(capsys):
    """What the command prints of a path: all in one line, and its lines."""

    def explain_path(path) -> tuple[str, list[str]]:
        explain.main(Namespace(path=Path(path)))
        printed = capsys.readouterr().out
        return re.sub(r"\s+", " ", printed), printed.splitlines()

    return explain_path


def paragraph(lines, title):
    """The lines of a paragraph as one text, without the spaces of its columns."""
    start = next(number for number, line in enumerate(lines) if title in line)
    end = lines.index("", start) if "" in lines[start:] else len(lines)
    return re.sub(r"\s+", " ", " ".join(lines[start:end]))


def test_an_image_from_its_label_to_its_photograph(tree, explained):
    text, lines = explained(tree.folder / "labels/initial/images/a2.png")
    assert lines[0] == (
        "results/demo/labels/initial/images/a2.png is the initial pseudo label of photograph "
        "voc/JPEGImages/a2.jpg. It is unchanged. Everything that it was made from is unchanged."
    )
    titles = [line.split(":")[0] for line in lines if re.match(r"\d+\. ", line)]
    assert titles == [
        "1. gen_gt",
        "2. infer_cam",
        "3. train_classifier",
        "4. download_saliency",
        "5. prepare_data",
        "6. prepare_data",
    ]
    assert "photographs 1, all unchanged" in paragraph(lines, "All stages")
    Path("voc/JPEGImages/a2.jpg").write_bytes(b"another")
    text, lines = explained(tree.folder / "labels/initial/images/a2.png")
    assert " CHANGED or MISSING, see below: 1 of " in lines[0]
    assert "1, 1 CHANGED or MISSING (voc/JPEGImages/a2.jpg: CHANGED)" in text


def test_the_photograph_itself_is_named_not_its_working_copy(tree, explained):
    shard = next(path for path in tree.shards("data/train") if '"a2"' in path.read_text())
    for path in (tree.index, shard):
        index = read_json(path)
        (entry,) = (one for one in index["images"] if one["id"] == "a2")
        itself = {name: entry[name] for name in ("image", "width", "height", "sha256")}
        entry |= {"original": itself, "image": "results/demo/data/working/a2.jpg", "sha256": "ab"}
        write_json(path, index)
    text, lines = explained(tree.folder / "labels/initial/images/a2.png")
    assert "is the initial pseudo label of photograph voc/JPEGImages/a2.jpg. It is" in text
    assert "photographs 1, all unchanged" in paragraph(lines, "All stages")


def test_a_stage_says_when_with_what_and_on_what(tree, explained):
    _, lines = explained(tree.score)
    labels = paragraph(lines, ". gen_gt: made the initial pseudo labels")
    facts = read_json(tree.shard("labels/initial", 0))["provenance"]
    assert f"output {tree.folder}/labels/initial/*-of-2.json" in labels
    assert "settings conflict_threshold: 0.8, all others at their defaults" in labels
    assert f"when {facts['start'][:10]}" in labels and "took 0:" in labels
    assert f"code_sha256 {facts['code_sha256']}" in labels
    assert "results/demo/cams/*-of-2.json: unchanged" in labels
    assert "files 6, all unchanged" in labels
    training = paragraph(lines, ". train_classifier: ")
    assert "settings epochs: 2, all others at their defaults" in training
    assert "seed 7" in training and "precision fp32" in training
    assert "settings all at their defaults" in paragraph(lines, ". infer_cam")


def test_what_concerns_all_stages_is_told_once(tree, explained):
    content = read_json(tree.score)
    content["provenance"]["git"] = {"revision": "abc", "changed": True}
    write_json(tree.score, content)
    text, lines = explained(tree.score)
    facts = content["provenance"]
    together = paragraph(lines, "All stages")
    assert f"device {facts['device']}" in together
    assert f"torch {facts['versions']['torch']}" in together
    assert "git revision abc, changed True" in together
    assert text.count(facts["device"]) == text.count("revision abc") == 1


def test_photographs_of_a_split(tree, explained):
    text, lines = explained(tree.score)
    assert text.startswith("results/demo/scores/initial_labels.json is an output of score.")
    assert "photographs 6, all unchanged" in paragraph(lines, "All stages")
    for number in range(1, 6):
        Path(f"voc/JPEGImages/a{number}.jpg").write_bytes(b"another")
    text, lines = explained(tree.score)
    assert "6, 5 CHANGED or MISSING (voc/JPEGImages/a1.jpg: CHANGED, " in text
    assert "a3.jpg: CHANGED, ...)" in text
    assert " CHANGED or MISSING, see below: 5 of " in lines[0]


def test_attention_is_of_a_class(tree, explained):
    text, _ = explained(tree.folder / "cams/images/a1_1.png")
    assert "is the attention map (CAM) of class dog of photograph voc/JPEGImages/a1.jpg." in text


def test_logits_are_told_from_a_prediction(tree, explained):
    folder = tree.folder / "predictions/initial/train"
    origin = Origin(script("predict"), [tree.shard("data/train", 0), tree.weights])
    (name,) = [entry.id for entry in read_index(tree.shard("data/train", 0)).images][:1]

    def work(image_id: str) -> list[str]:
        names = [f"images/{image_id}.png", f"logits/maps/{image_id}.npz"]
        for file in names:
            write_bytes(folder / file, b"pixels")
        return names

    manifests = {
        folder / "1-of-2.json": folder / "images",
        folder / "logits/1-of-2.json": folder / "logits/maps",
    }
    make_shard(manifests, origin, folder, {name: []}, lambda: (work, threads(1)))
    photograph = f"of photograph voc/JPEGImages/{name}.jpg. It is unchanged"
    text, _ = explained(folder / f"images/{name}.png")
    assert f"is the prediction {photograph}" in text
    text, lines = explained(folder / f"logits/maps/{name}.npz")
    assert f"is the low-resolution logits {photograph}" in text
    assert f"{tree.weights}: unchanged" in paragraph(lines, "1. predict")


def test_a_file_of_the_gallery_is_of_one_photograph(tree, explained):
    folder = tree.folder / "gallery"
    names = ["thumbs/a1.webp", "photos/a1.jpg", "doubt/a1.json"]

    def work(_: str) -> list[str]:
        for name in names:
            write_bytes(folder / name, b"0.5")
        return names

    origin = Origin(script("gallery"), [tree.index])
    made = {folder / "manifest.json": folder}
    make_shard(made, origin, folder, {"a1": []}, lambda: (work, threads(1)))
    for name in names:
        text, _ = explained(folder / name)
        assert "is the gallery file of photograph voc/JPEGImages/a1.jpg. It is unchanged." in text
        assert "photographs 1, all unchanged" in text


def test_edited_by_hand(tree, explained):
    image = tree.folder / "labels/initial/images/a0.png"
    image.write_bytes(b"edited")
    _, lines = explained(image)
    assert "It is CHANGED." in lines[0]
    assert f"({image}: CHANGED)" in paragraph(lines, "1. gen_gt")
    image.unlink()
    assert "It is MISSING" in explained(image)[0]


def test_stale(tree, explained):
    content = read_json(tree.shard("cams", 0))
    content["count"] += 1
    write_json(tree.shard("cams", 0), content)
    _, lines = explained(tree.score)
    labels = paragraph(lines, ". gen_gt")
    assert f"{tree.shard('cams', 0)}: CHANGED" in labels
    assert f"{tree.shard('cams', 1)}: unchanged" in labels


def test_stale_in_one_shard_alone(tree, explained):
    content = read_json(tree.shard("labels/initial", 0))
    content["provenance"]["inputs"]["../../saliency/manifest.json"] = "another"
    write_json(tree.shard("labels/initial", 0), content)
    labels = paragraph(explained(tree.score)[1], ". gen_gt")
    assert f"{tree.saliency}: CHANGED" in labels
    training = paragraph(explained(tree.score)[1], ". train_classifier")
    assert f"{tree.saliency}: unchanged" in training


def test_damaged_weights_are_explained_all_the_same(tree, explained):
    tree.weights.write_bytes(b"no tensors")
    _, lines = explained(tree.score)
    assert f"{tree.weights}: CHANGED" in paragraph(lines, ". infer_cam")
    assert f"({tree.weights}: CHANGED)" in paragraph(lines, ". train_classifier")


def test_shards_with_different_settings_show_both(tree, explained):
    path = tree.shard("labels/initial", 1)
    content = read_json(path)
    content["provenance"]["settings"]["conflict_threshold"] = 0.7
    write_json(path, content)
    labels = paragraph(explained(tree.score)[1], ". gen_gt")
    assert "conflict_threshold: 0.8" in labels and "conflict_threshold: 0.7" in labels


def test_a_script_of_another_version_is_shown_by_its_name(tree, explained):
    content = read_json(tree.score)
    content["provenance"]["script"] = "later_stage"
    write_json(tree.score, content)
    assert "1. later_stage: is no stage of this version" in explained(tree.score)[0]


@pytest.mark.parametrize("stage", [each for each in STAGES.values() if each.settings])
def test_defaults_are_known_of_every_section(stage):
    section = Config()
    for name in stage.settings.strip(".").split("."):
        section = getattr(section, name)
    facts = {"script": stage.name, "settings": section.model_dump()}
    text = explain.settings_text(Artifact(Path("a"), facts, {}, {}, Path()))
    assert text == "all at their defaults"
