"""Folders under names that would break a shell, and an address with a secret, on the way to
preflight.
"""

import json
import sys
import tarfile

import yaml

from helpers.folders import write_folder
from helpers.project import REDUCED, Project, merge, run
from helpers.server import answer, server  # noqa: F401

STRANGE = "; touch pwned & 'a' \"b\" $(touch pwned) `touch pwned` | \u00e9 \\n %s"
QUERY = "token=s3cret&X-Amz-Signature=$(touch pwned)"


def test_nothing_in_a_name_is_executed_and_no_secret_is_kept(server, tmp_path):  # noqa: F811
    project = Project.new(tmp_path / f"home {STRANGE}" / "project")
    root, results = f"data {STRANGE}", f"results {STRANGE}"
    write_folder(project.folder / root)
    with tarfile.open(tmp_path / "maps.tar", "w") as tar:
        tar.add(project.folder / root / "saliency", "maps")
    server.script = [answer(body=(tmp_path / "maps.tar").read_bytes())]
    lists = {"train_list": "train.csv", "val_list": "val.csv"}
    settings = {
        "results": results,
        "dataset": {"root": root, "masks": "masks", **lists},
        "saliency": {"source": f"{server.url}?{QUERY}"},
    }
    # Not on the command line, which Snakemake itself logs.
    demo = merge(yaml.safe_load((project.folder / "config/config.yaml").read_text()), REDUCED)
    (project.folder / "my.yaml").write_text(json.dumps(merge(demo, settings)))
    there = set(project.folder.iterdir())
    command = [sys.executable, "-m", "snakemake", "preflight", "--cores", "2"]
    done = run([*command, "--configfile", "my.yaml"], project.folder)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert server.paths == [f"/maps.tar?{QUERY}".replace(" ", "%20")]
    assert (project.folder / results / "demo/preflight/pipeline.json").is_file()
    new = {path.name for path in set(project.folder.iterdir()) - there}
    assert new == {results, ".snakemake"}
    assert not list(tmp_path.rglob("pwned"))
    assert "s3cret" not in said
    told = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "my.yaml"]
    assert not [path for path in told if b"s3cret" in path.read_bytes()]
