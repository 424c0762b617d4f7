"""The same seed on the same machine: the same bytes of every stage, however it is run."""

import json
from pathlib import Path

import pytest

from helpers.project import Project

# How it was run and when, and the pages that tell just that.
NOT_COMPARED = ("logs", "benchmarks", "run", "cache")
PAGES = {"run.html", "run.html.provenance"}
OTHERWISE = {
    "shards": 3,
    "runtime": {"workers": 2, "inference_threads": 1, "checkpoint_seconds": 1, "log_seconds": 1},
}
# What differs in provenance: when, how long, and the files of the shards.
TIMES = ("start", "seconds", "inputs")


def artifacts(results: Path) -> dict[str, object]:
    """Name -> content of every artifact: bytes, or JSON without times; shards as one."""
    found: dict[str, object] = {}
    for path in sorted(results.rglob("*")):
        name = path.relative_to(results)
        hidden = any(part.startswith(".") for part in name.parts)
        if not path.is_file() or hidden or set(name.parts) & {*NOT_COMPARED, *PAGES}:
            continue
        if path.suffix == ".journal":
            continue
        if path.suffix not in (".json", ".provenance"):
            found[str(name)] = path.read_bytes()
            continue
        content = json.loads(path.read_text())
        facts = content if path.suffix == ".provenance" else content.get("provenance", {})
        for key in TIMES:
            facts.pop(key, None)
        if "-of-" not in path.stem:
            found[str(name)] = content
            continue
        parts = content.get("files") or {entry["id"]: entry for entry in content["images"]}
        found.setdefault(str(name.parent), {}).update(parts)
    return found


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
    assert {"scores/val_crf.json", "report/sweeps.svg", "report/sheets/val_best.png"} <= made_of_all
    assert set(second) <= set(first)
    assert [name for name in made_of_all if first[name] != second[name]] == []
