"""One cache folder for two clones of the project: nothing is fetched twice."""

import tarfile

import pytest

from helpers.folders import write_folder
from helpers.project import Project
from helpers.server import answer, server  # noqa: F401
from i2crc.runtime.atomic import digest_file, read_json

TARGET = "results/demo/saliency/manifest.json"
# A scheduler that starts each job at once.
SUBMITTED = [
    *("--executor", "cluster-generic", "--cluster-generic-submit-cmd", "sh", "--jobs", "2"),
    *("--seconds-between-status-checks", "1"),
]
# Added to a stage: it writes down two variables of its environment.
NOTE_FOLDERS = """import argparse
import os
from pathlib import Path
Path("results/folders").write_text(os.environ["TORCH_HOME"] + " " + os.environ["HF_HOME"])
"""


def made(project: Project) -> dict[str, bytes | dict]:
    """Return the artifacts: bytes of images, JSON without its provenance."""
    found: dict[str, bytes | dict] = {}
    for folder in ("data", "saliency"):
        for path in (project.results / folder).rglob("*"):
            if ".kept" in path.parts:
                continue
            name = str(path.relative_to(project.results))
            if path.suffix == ".json":
                found[name] = {k: v for k, v in read_json(path).items() if k != "provenance"}
            elif path.suffix == ".png":
                found[name] = path.read_bytes()
    return found


@pytest.mark.exhaustive
def test_the_second_clone_fetches_nothing(server, tmp_path, monkeypatch):  # noqa: F811
    write_folder(tmp_path / "data")
    with tarfile.open(tmp_path / "maps.tar", "w") as tar:
        tar.add(tmp_path / "data/saliency", "maps")
    server.script = [answer(body=(tmp_path / "maps.tar").read_bytes())]
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    lists = {"train_list": "train.csv", "val_list": "val.csv"}
    settings = {
        "runtime": {"cache": str(tmp_path / "cache")},
        "dataset": {"root": str(tmp_path / "data"), "masks": "masks", **lists},
        "saliency": {"location": server.url, "sha256": digest_file(tmp_path / "maps.tar")},
    }
    clones = [Project.new(tmp_path / name) for name in ("one", "two")]
    # On this machine, and as submitted jobs.
    for project, options in zip(clones, ([], SUBMITTED), strict=True):
        script = project.folder / "workflow_scripts/data/prepare_data.py"
        script.write_text(script.read_text().replace("import argparse", NOTE_FOLDERS, 1))
        before = {*project.folder.iterdir(), *tmp_path.iterdir()}
        done = project.snakemake(TARGET, *options, settings=settings)
        assert done.returncode == 0, done.stdout + done.stderr
        new = {*project.folder.iterdir(), *tmp_path.iterdir()} - before
        assert {path.name for path in new} <= {"results", ".snakemake", "cache"}
    assert len(server.requests) == 1
    assert made(clones[0]) == made(clones[1])
    folders = [(project.folder / "results/folders").read_text() for project in clones]
    assert folders == [f"{tmp_path}/cache/torch {tmp_path}/cache/huggingface"] * 2
    again = clones[1].snakemake("--dry-run", TARGET, settings={**settings, "runtime": {}})
    assert "Nothing to be done" in again.stdout + again.stderr
    # What Snakemake itself keeps of the files that it reads.
    assert {str(path.relative_to(home)) for path in home.iterdir()} <= {".cache"}
    assert not [p for p in (home / ".cache").rglob("*") if "snakemake" not in str(p)]
