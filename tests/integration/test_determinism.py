"""The same seed on the same machine: the same bytes of every stage, however it is run."""

import pytest

from helpers.artifacts import artifacts
from helpers.project import Project

OTHERWISE = {
    "shards": 3,
    "runtime": {"workers": 2, "inference_threads": 1, "checkpoint_seconds": 1, "log_seconds": 1},
}


@pytest.mark.exhaustive
def test_how_it_is_run_changes_no_byte(finished, tmp_path, monkeypatch):
    """Other shards, loaders and threads, the jobs in another order, another hash seed and place."""
    other = Project.new(tmp_path / "elsewhere" / "project")
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("LC_ALL", "C")
    done = other.snakemake("--scheduler", "greedy", settings=OTHERWISE)
    assert done.returncode == 0, done.stdout + done.stderr
    first, second = artifacts(finished.results), artifacts(other.results)
    made_of_all = {name for name in second if name in first}
    assert {"classifier/weights.safetensors", "segmentation/final/history.csv"} <= made_of_all
    assert {
        "scores/val_crf.json",
        "report/sweeps.html",
        "report/sheets/val_best.html",
    } <= made_of_all
    assert set(second) <= set(first)
    assert [name for name in made_of_all if first[name] != second[name]] == []
