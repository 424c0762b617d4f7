"""`i2crc export RESULTS --labels`: which labels and photographs of a run are exported."""

import argparse
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.experiment_tree import Tree, make_dataset
from i2crc.cli import export
from i2crc.config.load import dump_config, load_config
from i2crc.data.images import read_label, write_label
from i2crc.runtime.atomic import digest_file, read_json, write_json
from i2crc.runtime.errors import InputError

MASKS = "VOCdevkit/VOC2012/SegmentationClass"
PHOTOS = "VOCdevkit/VOC2012/JPEGImages"


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A run that has made initial labels; its project is the working directory."""
    make_dataset(tmp_path)
    monkeypatch.chdir(tmp_path)
    tree = Tree(tmp_path)
    configure(tree)
    return tree


def configure(tree: Tree, **segmentation) -> None:
    config = load_config({"shards": 2, "segmentation": segmentation}, "test")
    (tree.folder / "config.yaml").write_text(dump_config(config))


def refine(tree: Tree) -> None:
    """Give the run refined labels, whose first pixel is ignored."""
    shutil.copytree(tree.folder / "labels/initial", tree.folder / "labels/refined")
    for manifest in tree.shards("labels/refined"):
        content = read_json(manifest)
        for name in content["files"]:
            file = manifest.parent / "images" / name
            label = read_label(file).copy()
            label[0, 0] = 255
            write_label(file, label)
            content["files"][name] = digest_file(file)
        write_json(manifest, content)


def run(*words) -> None:
    parser = argparse.ArgumentParser(exit_on_error=False)
    export.add_arguments(parser)
    export.main(parser.parse_args([str(word) for word in words]))


def refused(*words) -> str:
    with pytest.raises(InputError) as error:
        run(*words)
    return str(error.value)


def test_refined_labels_are_exported(tree, capsys):
    refine(tree)
    run(tree.folder, "--labels", "voc", "--output", "out")
    assert capsys.readouterr().out == (
        "6 photographs with refined labels exported for PASCAL VOC: VOCdevkit/VOC2012 in out\n"
    )
    for number in range(6):
        label = tree.folder / f"labels/refined/images/a{number}.png"
        assert Path("out", MASKS, f"a{number}.png").read_bytes() == label.read_bytes()
        photo = Path("voc/JPEGImages", f"a{number}.jpg")
        assert Path("out", PHOTOS, photo.name).read_bytes() == photo.read_bytes()
    assert not Path("out/names.csv").exists()


def test_before_the_second_round_initial_labels_are_exported(tree, capsys):
    run(tree.folder, "--labels", "coco", "--output", "out")
    assert capsys.readouterr().out == (
        "6 photographs with initial labels exported for COCO: annotations/train.json and images/ "
        "in out\n"
    )


def test_incomplete_refined_labels_are_refused(tree):
    refine(tree)
    first, second = tree.shards("labels/refined")
    first.unlink()
    assert refused(tree.folder, "--labels", "coco", "--output", "out") == (
        f"{first}: missing, so the refined labels are not complete; let the run finish, then export"
    )
    second.unlink()
    run(tree.folder, "--labels", "coco", "--output", "out")


def test_labels_of_an_earlier_number_of_shards_are_not_looked_at(tree):
    refine(tree)
    for file in tree.shards("labels/refined"):
        file.rename(file.with_name(file.name.replace("of-2", "of-3")))
    run(tree.folder, "--labels", "voc", "--output", "out")
    label = tree.folder / "labels/initial/images/a0.png"
    assert Path("out", MASKS, "a0.png").read_bytes() == label.read_bytes()


def test_a_run_without_pseudo_labels_is_refused(tree):
    shutil.rmtree(tree.folder / "labels")
    assert refused(tree.folder, "--labels", "yolo", "--output", "out") == (
        "results/demo: has made no labels yet; run the target refined_labels first"
    )
    configure(tree, supervision="full")
    assert refused(tree.folder, "--labels", "yolo", "--output", "out") == (
        "results/demo: trained on masks (segmentation.supervision: full), so it made no labels; "
        "use the masks, or give an experiment with pseudo labels"
    )
    assert not Path("out").exists()


def test_a_folder_that_is_no_experiment_is_refused(tree):
    assert refused("voc", "--labels", "coco", "--output", "out") == (
        "voc: no folder of an experiment: it holds no config.yaml; give RESULTS/EXPERIMENT of a "
        "run, as results/demo"
    )


def test_an_output_with_files_is_refused(tree):
    message = "voc: not empty; give another folder with --output"
    assert refused(tree.folder, "--labels", "coco", "--output", "voc") == message
    message = "voc/classes.txt: a file, no folder; give another folder with --output"
    assert refused(tree.folder, "--labels", "coco", "--output", "voc/classes.txt") == message


def test_a_photograph_without_label_is_named(tree):
    index = read_json(tree.index)
    index["images"].append({**index["images"][0], "id": "b"})
    write_json(tree.index, index)
    message = "voc/JPEGImages/a0.jpg: has no initial label; run the pipeline again"
    assert refused(tree.folder, "--labels", "coco", "--output", "out").endswith(message)


@pytest.mark.parametrize("change", ["photograph", "classes", "removed"])
def test_labels_that_are_older_than_the_data_are_refused(tree, change):
    """The run was stopped behind prepare_data."""
    for index in (tree.index, *tree.shards("data/train")):
        content = read_json(index)
        if change == "classes":
            content["classes"] = ["dog", "cat"]
        for entry in content["images"] if change == "photograph" else ():
            Image.new("RGB", (8, 8), "blue").save(entry["image"])
            entry["sha256"] = digest_file(entry["image"])
        write_json(index, content)
    if change == "removed":
        index.unlink()
    number = 2 if change == "removed" else 1
    manifest = tree.folder / f"labels/initial/{number}-of-2.json"
    assert refused(tree.folder, "--labels", "yolo", "--output", "out") == (
        f"{manifest}: these initial labels were made of other photographs or classes than "
        f"{tree.folder}/data/train/{number}-of-2.json has; let the run finish, then export"
    )
    assert not Path("out").exists()


def test_a_large_photograph_is_exported_at_its_own_size(tree):
    """The index has its working copy, and the label is that of the photograph itself."""
    large = Image.new("RGB", (60, 40), "blue")
    large.save("large.png")
    original = {"image": "large.png", "width": 60, "height": 40, "sha256": digest_file("large.png")}
    index = read_json(tree.index)
    index["images"][0]["original"] = original
    write_json(tree.index, index)
    (manifest,) = (f for f in tree.shards("labels/initial") if "a0.png" in read_json(f)["files"])
    label = np.zeros((40, 60), np.uint8)
    label[10:20, 30:50] = 2
    write_label(manifest.parent / "images/a0.png", label)
    content = read_json(manifest)
    content["files"]["a0.png"] = digest_file(manifest.parent / "images/a0.png")
    write_json(manifest, content)
    run(tree.folder, "--labels", "coco", "--output", "out")
    assert Path("out/images/a0.png").read_bytes() == Path("large.png").read_bytes()
    found = read_json("out/annotations/train.json")
    image = found["images"][0]
    assert (image["file_name"], image["width"], image["height"]) == ("a0.png", 60, 40)
    (one,) = (one for one in found["annotations"] if one["image_id"] == image["id"])
    assert one["bbox"] == [30, 10, 20, 10] and one["segmentation"]["size"] == [40, 60]


def test_new_names_are_listed(tree, capsys):
    index = read_json(tree.index)
    for entry in index["images"]:
        entry["id"] = f"my photos/{entry['id']}"
    write_json(tree.index, index)
    for manifest in tree.shards("labels/initial"):
        content = read_json(manifest)
        files = {f"my photos/{name}": sha for name, sha in content["files"].items()}
        write_json(manifest, {**content, "files": files})
    images = tree.folder / "labels/initial/images"
    for file in list(images.iterdir()):
        (images / "my photos").mkdir(exist_ok=True)
        file.rename(images / "my photos" / file.name)
    run(tree.folder, "--labels", "yolo", "--output", "out")
    said = capsys.readouterr().out.splitlines()
    assert said[1] == "6 of them have other names there, which names.csv lists"
    lines = Path("out/names.csv").read_text().splitlines()
    assert lines[:2] == ["name,id", "my_photos_a0,my photos/a0"]
    assert len(list(Path("out/labels/train").glob("my_photos_a?.txt"))) == 6


def test_the_project_may_be_elsewhere(tree, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    run(tmp_path / tree.folder, "--labels", "voc", "--output", tmp_path / "out")
    assert len(list((tmp_path / "out" / PHOTOS).iterdir())) == 6
