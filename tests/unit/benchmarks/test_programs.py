"""The benchmarks run on few drawn photographs and write what was measured."""

import json
import subprocess
import sys

import pytest

from helpers.project import ROOT, environment
from i2crc.data.drawn_demo import write_demo

slow = pytest.mark.exhaustive
EXHAUSTIVE = ("crf", "startup", "dry_run", "growth", "large", "whole")
PROGRAMS = ["gen_gt", *(pytest.param(name, marks=slow) for name in EXHAUSTIVE)]


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_trial(tmp_path, name):
    root = tmp_path / "voc"
    write_demo(root, root / "saliency.tar.gz", {"train": 3, "val": 1}, 64, 0)
    command = [sys.executable, str(ROOT / f"benchmarks/{name}.py"), "--quick"]
    command += ["--output", str(tmp_path / "out")]
    command += ["--photographs", str(root)] if name != "whole" else []
    done = subprocess.run(
        command, env=environment(ROOT), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (written,) = (tmp_path / "out").glob(f"{name}*.json")
    result = json.loads(written.read_text())
    assert result["machine"]["cores"] > 0
    for row in result["rows"]:
        assert f"| {row['benchmark']} |" in done.stdout
        if "ratio" in row:
            assert row["agreement"] > 0.99
            assert len(row["seconds"]["ours"]) == len(row["seconds"]["published"]) == 2
            assert row["lowest"] <= row["ratio"] <= row["highest"]
    # Nothing is left in the folder of temporary files or beside the program.
    assert {path.name for path in tmp_path.iterdir()} == {"voc", "out"}


def test_a_side_that_fails_ends_the_benchmark_with_its_error(tmp_path):
    command = [sys.executable, str(ROOT / "benchmarks/gen_gt.py"), "--quick"]
    command += ["--output", str(tmp_path), "--photographs", str(tmp_path / "none")]
    done = subprocess.run(
        command, env=environment(ROOT), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "none: cannot be measured with" in done.stderr
