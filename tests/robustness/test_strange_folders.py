"""Folders under names that would break a shell, an address with a secret, and the project used from
elsewhere: by `-s` and `-d`, and as a module of another workflow.
"""

import json
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

from helpers.folders import write_folder
from helpers.project import REDUCED, Project, merge, run
from helpers.server import answer, server  # noqa: F401

STRANGE = "; touch pwned & 'a' \"b\" $(touch pwned) `touch pwned` | \u00e9 \\n %s"
# Snakemake takes braces in the name of an output for a wildcard, in no other name.
BRACES = f"{STRANGE} {{shard}} {{{{b}}}} {{"
QUERY = "token=s3cret&X-Amz-Signature=$(touch pwned)"
SNAKEMAKE = [sys.executable, "-m", "snakemake", "--cores", "2"]


def files_of(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if "__pycache__" not in path.parts}


def test_nothing_in_a_name_is_executed_and_no_secret_is_kept(server, tmp_path):  # noqa: F811
    project = Project.new(tmp_path / f"home {BRACES}" / "project").folder
    work = tmp_path / f"work {BRACES}"
    root, results = f"data {BRACES}", f"results {STRANGE}"
    write_folder(work / root)
    with tarfile.open(tmp_path / "maps.tar", "w") as tar:
        tar.add(work / root / "saliency", "maps")
    server.script = [answer(body=(tmp_path / "maps.tar").read_bytes())]
    lists = {"train_list": "train.csv", "val_list": "val.csv"}
    settings = {
        "results": results,
        "dataset": {"name": "{set}", "root": root, "masks": "masks", **lists},
        "saliency": {"location": f"{server.url}?{QUERY}"},
    }
    # Not on the command line, which Snakemake itself logs.
    demo = merge(yaml.safe_load((project / "config/config.yaml").read_text()), REDUCED)
    (work / "my.yaml").write_text(json.dumps(merge(demo, settings)))
    there, of_project = set(work.iterdir()), files_of(project)
    command = [*SNAKEMAKE, "preflight", "-s", project / "Snakefile", "-d", work]
    command += ["--configfile", work / "my.yaml"]
    done = run(command, tmp_path)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert server.paths == [f"/maps.tar?{QUERY}".replace(" ", "%20")]
    assert (work / results / "demo/preflight/pipeline.json").is_file()
    assert {path.name for path in set(work.iterdir()) - there} == {results, ".snakemake"}
    assert files_of(project) == of_project
    assert not list(tmp_path.rglob("pwned"))
    assert "s3cret" not in said
    told = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "my.yaml"]
    assert not [path for path in told if b"s3cret" in path.read_bytes()]
    again = run(command, tmp_path)
    assert "Nothing to be done" in again.stderr, again.stderr


@pytest.mark.exhaustive
def test_another_workflow_uses_the_project_as_a_module(tmp_path):
    project = Project.new(tmp_path / f"home {BRACES}" / "project").folder
    demo = merge(yaml.safe_load((project / "config/config.yaml").read_text()), REDUCED)
    (tmp_path / "own.yaml").write_text(json.dumps({"letters": "abc", "i2crc": demo}))
    module = f"""
configfile: "own.yaml"

module i2crc:
    snakefile: {str(project / "Snakefile")!r}
    config: config["i2crc"]
"""
    (tmp_path / "renamed").write_text(f"""{module}
use rule * from i2crc as i2crc_*

use rule crf from i2crc as i2crc_crf with:
    threads: 1

onstart:
    i2crc.onstart()

rule count:
    default_target: True
    input: rules.i2crc_check_leaks.output
    output: "leaks.txt"
    shell: "wc -c {{input:q}} > {{output:q}}"
""")
    (tmp_path / "plain").write_text(f"{module}\nuse rule * from i2crc\n")
    of_project = files_of(project)
    profile = ["--workflow-profile", project / "profiles/default"]
    done = run([*SNAKEMAKE, *profile, "-s", "renamed"], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "leaks.txt").is_file()
    assert (tmp_path / "results/demo/.lock").is_file()  # onstart takes the results for this run
    leaks = "results/demo/data/leaks.json"
    for target in (["-s", "renamed"], [leaks, "-s", "plain"]):
        again = run([*SNAKEMAKE, *profile, *target], tmp_path)
        assert "Nothing to be done" in again.stderr, again.stderr
    plan = run([*SNAKEMAKE, "--dry-run", "-s", "plain"], tmp_path)
    assert plan.returncode == 0 and "rule train_segmentation:" in plan.stdout, plan.stderr
    assert files_of(project) == of_project
