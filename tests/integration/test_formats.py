"""A data set that is not of the format voc, from Snakemake's point of view."""

import shutil

import pytest
from PIL import Image

from helpers.project import Project, merge
from i2crc.data.index import read_index
from i2crc.runtime.atomic import write_json


@pytest.fixture
def project(tmp_path) -> Project:
    """A project with a table of twelve photographs, from which val is drawn."""
    project = Project.new(tmp_path / "project")
    photos = project.folder / "data/photos"
    photos.mkdir(parents=True)
    for number in range(12):
        pixels = Image.effect_noise((40, 30), 90 + number)
        pixels.convert("RGB").save(photos / f"{number:03}.jpg")
    labels = ["cat", "dog", "cat;dog", ""]
    rows = [f"{number:03}.jpg,{labels[number % 4]}" for number in range(12)]
    (photos.parent / "labels.csv").write_text("\n".join(["file,labels", *rows, ""]))
    return project


def settings(**dataset) -> dict:
    return {"dataset": {"format": "csv", "root": "data", "images": "photos", **dataset}}


INDEXES = ["results/demo/data/train.json", "results/demo/data/val.json"]


@pytest.mark.exhaustive
def test_a_listed_data_set_is_indexed_and_its_changes_are_seen(project):
    done = project.snakemake(*INDEXES, settings=settings(val_share=0.25))
    assert done.returncode == 0, done.stdout + done.stderr
    train, val = (read_index(project.folder / name) for name in INDEXES)
    assert train.classes == val.classes == ["cat", "dog"]
    assert {*(e.id for e in train.images), *(e.id for e in val.images)} == {
        f"{number:03}" for number in range(12)
    }
    assert len(val.images) in (2, 3, 4)
    table = project.folder / "data/labels.csv"
    for changed in ({}, {"val_share": 0.5}, {"split_seed": 1}):
        wanted = {"list_data", "prepare_data"} if changed else set()
        shares = {"val_share": 0.25} | changed
        assert project.planned(*INDEXES, settings=settings(**shares)) >= wanted
        if not wanted:
            assert not project.planned(*INDEXES, settings=settings(**shares))
    table.write_text(table.read_text().replace("000.jpg,cat", "000.jpg,cow"))
    assert "list_data" in project.planned(*INDEXES, settings=settings(val_share=0.25))


@pytest.mark.exhaustive
def test_corrections_draw_no_other_val_and_a_cache_holds_no_photographs(project):
    def ids(**more) -> list[list[str]]:
        done = project.snakemake(*INDEXES, settings=merge(settings(images="."), more))
        assert done.returncode == 0, done.stdout + done.stderr
        indexes = [read_index(project.folder / name) for name in INDEXES]
        assert not any("ignored" in text for index in indexes for text in index.warnings)
        return [[entry.id for entry in index.images] for index in indexes]

    train, val = ids()
    (project.folder / "data/cache/downloads").mkdir(parents=True)
    shutil.copy(project.folder / "data/photos/000.jpg", project.folder / "data/cache/downloads")
    corrections = {"i2crc_corrections": 1, "exclude": train[:1], "relabel": {train[1]: ["dog"]}}
    write_json(project.folder / "data/corrections.json", corrections)
    more = {"dataset": {"corrections": "corrections.json"}, "runtime": {"cache": "data/cache"}}
    assert ids(**more) == [train[1:], val]


@pytest.mark.exhaustive
def test_a_wrong_table_is_reported_before_anything_is_trained(project):
    with (project.folder / "data/labels.csv").open("a") as table:
        table.write("ghost.jpg,cat\n")
    done = project.snakemake("preflight", settings=settings())
    assert done.returncode != 0
    problem = "data/labels.csv:14: no photograph 'ghost.jpg' below data/photos; correct the name"
    assert problem in done.stdout + done.stderr
    assert not (project.results / "classifier").exists()
