"""Photographs that were excluded and relabelled in the gallery, through the stages that follow."""

import pytest

from helpers.project import Project
from i2crc.artifacts.manifest import read_manifests
from i2crc.data.images import read_label
from i2crc.runtime.atomic import read_json, write_json

INDEX = {"prepare_data": {"data/train.json", "data/train/1-of-1.json"}}


def correct(project: Project, **content) -> dict:
    """Write a file of corrections; return the settings that name it."""
    file = project.folder / "corrections.json"
    write_json(file, {"i2crc_corrections": 1, **content})
    return {"dataset": {"corrections": str(file)}}


def stale(project: Project, settings: dict) -> dict[str, set[str]]:
    (found,) = project.looks(["pseudo_labels", *project.arguments(settings=settings)[2:]])
    return found


def labels(project: Project, round_name: str) -> dict:
    made = read_manifests([project.results / f"labels/{round_name}/1-of-1.json"])
    return {file.removesuffix(".png"): path for file, (path, _) in made.items()}


def entries(project: Project) -> dict[str, list[int]]:
    return {e["id"]: e["classes"] for e in read_json(project.results / "data/train.json")["images"]}


@pytest.mark.exhaustive
def test_corrections_are_learnt_from_and_what_they_do_not_touch_is_kept(copied):
    before = entries(copied)
    first, second, third, *others = before
    settings = correct(copied, exclude=[first, second], relabel={third: []})
    val = (copied.results / "data/val.json").read_bytes()
    assert stale(copied, settings) == INDEX
    done = copied.run("pseudo_labels", settings=settings)
    assert done.computed == dict.fromkeys(
        ["prepare_data", "download_saliency", "check_leaks", "preflight", "train_classifier",
         "infer_cam", "gen_gt"], 1,
    )  # fmt: skip
    assert (copied.results / "data/val.json").read_bytes() == val
    assert entries(copied) == {third: []} | {name: before[name] for name in others}
    said = "train: 10 images, 6 classes; 2 photographs excluded and 1 photograph relabelled by "
    assert said in (copied.results / "logs/prepare_data/train.log").read_text()
    made = labels(copied, "initial")
    assert made.keys() == {third, *others} and not read_label(made[third]).any()

    assert stale(copied, settings) == {}
    correct(copied)  # the same file has another content
    assert stale(copied, settings) == INDEX


@pytest.mark.exhaustive
def test_wrong_corrections_stop_a_run_and_corrected_ones_reach_its_end(copied):
    first, second, *_ = entries(copied)
    done = copied.snakemake(settings=correct(copied, exclude=[first, "demo_train_1"]))
    assert done.returncode == 1
    said = "corrections.json: no photograph has the id demo_train_1; the nearest"
    assert said in done.stdout + done.stderr
    assert not (copied.results / "preflight/pipeline.json").exists()

    copied.run(settings=correct(copied, exclude=[first], relabel={second: []}))
    assert len(labels(copied, "refined")) == 11
    note = "Training data: 1 photograph excluded and 1 photograph relabelled"
    assert note in (copied.results / "scores/table.md").read_text()
