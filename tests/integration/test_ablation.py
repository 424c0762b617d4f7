"""The target ablation: the runs that it plans, and that what they share changes no score."""

import os
from collections import Counter
from pathlib import Path

import filelock
import numpy as np
import pytest

from helpers.project import SCORED_IMAGES, Project, merge
from i2crc.artifacts.provenance import content_digest
from i2crc.data.images import write_gray
from i2crc.runtime.atomic import read_json
from i2crc.runtime.log import this_process

CRF = {"crf": {"labels": "all"}}
VARIANTS = {"crf-all": CRF, "ceiling": {"segmentation": {"supervision": "full"}}}
ONE_VARIANT = {"ablation": {"seeds": [3], "variants": {"x": CRF}}}


def described(*seeds: int) -> dict:
    return {"ablation": {"seeds": list(seeds), "variants": VARIANTS}}


@pytest.fixture(scope="module")
def fresh(tmp_path_factory) -> Project:
    """A project without results."""
    return Project.new(tmp_path_factory.mktemp("ablation") / "project")


def test_a_dry_run_lists_the_stages_of_every_run(finished):
    planned = finished.planned("ablation", settings=described(3))
    runs = Counter(name.rpartition(".")[0] for name in planned)
    assert set(runs) == {"", "base-3", "crf-all-3", "ceiling-3"}
    assert runs["base-3"] == runs["crf-all-3"] > runs["ceiling-3"]
    assert {name for name in planned if "." not in name} == {"ablation"}
    assert "ceiling-3.train_segmentation" in planned
    assert "ceiling-3.train_classifier" not in planned


def test_without_variants_the_target_says_how_to_name_some(finished):
    done = finished.snakemake("--dry-run", "ablation")
    assert done.returncode != 0
    assert "ablation.variants is empty" in done.stdout + done.stderr


def test_without_masks_the_target_is_refused_before_anything_is_computed(fresh):
    settings = {"dataset": {"masks": ""}, **ONE_VARIANT}
    done = fresh.snakemake("--dry-run", "ablation", settings=settings)
    assert done.returncode != 0
    assert "dataset.masks is empty" in done.stdout + done.stderr


def test_a_run_is_locked_and_its_settings_are_saved_where_files_are_made(fresh):
    folder = fresh.results / "ablation/base-3"
    manifest = folder / "dataset/manifest.json"
    wanted = str(manifest.relative_to(fresh.folder))

    def text(*arguments: str) -> str:
        done = fresh.snakemake(*arguments, wanted, settings=ONE_VARIANT)
        return done.stdout + done.stderr

    folder.mkdir(parents=True)
    with filelock.FileLock(folder / ".lock"):
        (folder / ".lock").write_text(this_process())
        assert f"base-3: process {os.getpid()} on " in text()
    assert not manifest.exists()
    text()
    saved = [path.relative_to(fresh.results) for path in fresh.results.rglob("config.yaml")]
    assert saved == [Path("ablation/base-3/config.yaml")]
    assert not (fresh.results / "ablation/x-3").exists()

    (folder / "dataset/classes.txt").unlink()
    with filelock.FileLock(folder / ".lock"):
        assert "removed, so that its stage makes it again" not in text("--dry-run")
    assert "removed, so that its stage makes it again" in text("--dry-run")


def test_results_among_the_photographs_are_none_of_a_run(fresh):
    """Neither its own, nor those of an experiment beside the ablation."""
    for name in ("cat/0.png", "cat/1.png", "dog/2.png", "dog/3.png"):
        write_gray(fresh.folder / "data" / name, np.zeros((8, 8), np.uint8))
    index = "data/results/demo/ablation/base-3/data/train.json"
    dataset = {"format": "folders", "root": "data", "val_share": 0}
    settings = {"results": "data/results", "dataset": dataset, **ONE_VARIANT}
    done = fresh.snakemake(index, settings=settings)
    assert done.returncode == 0, done.stdout + done.stderr
    write_gray(fresh.folder / "data/results/other/pig/0.png", np.zeros((8, 8), np.uint8))
    assert not fresh.planned(index, settings=settings)


def test_memory_is_planned_for_the_jobs_of_several_runs(fresh):
    """Jobs of several runs are computed at the same time, also if each run has one shard."""
    checks = [f"results/demo/{run}preflight/pipeline.json" for run in ("", "ablation/base-3/")]
    done = fresh.snakemake("--dry-run", "-pF", *checks, settings=ONE_VARIANT)
    assert done.returncode == 0, done.stdout + done.stderr
    commands = (done.stdout + done.stderr).splitlines()
    jobs = {
        words[words.index("--experiment") + 1]: words[words.index("--crf-jobs") + 1]
        for words in map(str.split, commands)
        if "--crf-jobs" in words
    }
    assert jobs == {"results/demo": "1", "results/demo/ablation/base-3": "2"}


@pytest.mark.exhaustive
def test_runs_share_what_does_not_differ_and_have_the_scores_of_runs_alone(tmp_path):
    project = Project.new(tmp_path / "project")
    # With one core, no two runs compute the same at the same time.
    done = project.snakemake("ablation", "--cores", "1", settings=described(0))
    text = done.stdout + done.stderr
    assert done.returncode == 0, text
    assert "Ablation of this run" in text
    folder = project.results / "ablation"
    rows = read_json(folder / "ablation.json")["results"]
    stages = Counter(row["variant"] for row in rows)
    assert stages == {"base": 7, "crf-all": 7, "ceiling": 2}
    assert len(list(folder.glob("*-0/config.yaml"))) == 3

    base, variant = folder / "base-0", folder / "crf-all-0"
    for stage in ("classifier", "segmentation/initial"):
        (run,) = (base / stage / "run").glob("*/weights.safetensors")
        assert os.path.samefile(run, variant / run.relative_to(base)), stage
    labels = "labels/initial/images"
    for file in (base / labels).iterdir():
        assert os.path.samefile(file, variant / labels / file.name)
    minutes = {(row["variant"], row["stage"]): row["minutes"] for row in rows}
    assert minutes["crf-all", "train_aug_prediction"] == pytest.approx(
        minutes["base", "train_aug_prediction"], rel=0.5
    )

    again = project.snakemake("ablation", settings=described(0))
    assert "Nothing to be done" in again.stdout + again.stderr

    alone = project.snakemake("scores", "--cores", "1", settings=merge(CRF, {"results": "alone"}))
    assert alone.returncode == 0, alone.stdout + alone.stderr
    for stage in SCORED_IMAGES:
        score = f"scores/{stage}.json"
        assert content_digest(variant / score) == content_digest(
            project.folder / "alone/demo" / score
        )
