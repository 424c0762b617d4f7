"""The page of run times, provenance and configuration."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from i2crc.artifacts.provenance import Origin, read_provenance, write_beside
from i2crc.artifacts.stages import STAGES
from i2crc.report.run_facts import rule_times, run_page

SCRIPT = Path(__file__).parents[3] / "workflow_scripts" / STAGES["run_facts"].script
HEADER = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


def write_benchmark(path: Path, *rows: tuple[str, str, str]) -> None:
    """A table of Snakemake's with seconds, MiB and CPU seconds of each job."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{s}\t0:00:01\t{rss}\t1\t1\t1\t0\t0\t99.5\t{cpu}\n" for s, rss, cpu in rows]
    path.write_text(HEADER + "".join(lines))


@pytest.fixture
def benchmarks(tmp_path) -> Path:
    folder = tmp_path / "benchmarks"
    write_benchmark(folder / "train_classifier.tsv", ("120.0", "2048.0", "240.0"))
    write_benchmark(folder / "crf/final/val/1-of-2.tsv", ("30.0", "512.0", "30.0"))
    write_benchmark(folder / "crf/initial/train/2-of-2.tsv", ("60.0", "1024.0", "30.0"))
    write_benchmark(folder / "score/cam.tsv", ("0.3", "NA", "-"))
    return folder


def facts_of(folder: Path, **changes) -> dict:
    origin = Origin(SCRIPT, [], {"iterations": 3}, seed=7, precision="fp32")
    return {**origin.describe(folder / "x.json"), **changes}


def test_a_rule_is_summed_over_the_jobs_in_its_folder(benchmarks):
    times = rule_times(benchmarks, sorted(benchmarks.rglob("*.tsv")))
    assert times == [
        ["train_classifier", 1, 2.0, 2.0, 2.0],
        ["crf", 2, 1.5, 1.0, 1.0],
        ["score", 1, pytest.approx(0.005), pytest.approx(0.005), None],
    ]


def test_times_are_explained(benchmarks):
    text = run_page(rule_times(benchmarks, sorted(benchmarks.rglob("*.tsv"))), {}, {})
    assert "last attempt alone" in text and "at once" in text
    assert text.count("<svg") == 1


def test_no_job_is_no_error():
    assert run_page([], {}, {}).count("<svg") == 1


def test_provenance_row_has_short_digests_and_a_plus_for_changes(tmp_path):
    git = {"revision": "0123456789abcdef", "changed": True}
    text = run_page([], {"x.json": facts_of(tmp_path, git=git)}, {})
    assert "<td>01234567+</td>" in text
    assert f"<td>{facts_of(tmp_path)['code_sha256'][:8]}</td>" in text
    assert "<td>fp32</td>" in text and "<td>7</td>" in text
    assert "all artifacts: python" in text


def test_outside_a_repository_there_is_no_revision(tmp_path):
    assert "None" not in run_page([], {"x.json": facts_of(tmp_path, git=None)}, {})


def test_different_versions_are_listed_per_artifact(tmp_path):
    facts = {f"a{name}": facts_of(tmp_path, versions={"torch": name}) for name in "23"}
    text = run_page([], facts, {})
    assert "a2: torch 2" in text and "a3: torch 3" in text


def run_facts(folder: Path, config: str) -> subprocess.CompletedProcess:
    command = [
        sys.executable, SCRIPT, "--config", config, "--benchmarks", "benchmarks",
        "--artifacts", "scores/cam.json", "weights.safetensors", "--output", "facts.html",
    ]  # fmt: skip
    return subprocess.run([*map(str, command)], cwd=folder, capture_output=True, text=True)


def test_the_page_has_times_provenance_and_configuration(tmp_path, benchmarks):
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores/cam.json").write_text(json.dumps({"provenance": facts_of(tmp_path)}))
    (tmp_path / "weights.safetensors").write_bytes(b"weights")
    write_beside(tmp_path / "weights.safetensors", facts_of(tmp_path, script="train_classifier"))
    done = run_facts(tmp_path, json.dumps({"seed": 0, "dataset": {"root": "a <b> é"}}))
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "facts.html").read_text()
    assert "<td>scores/cam.json</td>" in text and "<td>train_classifier</td>" in text
    assert "<pre>seed: 0\ndataset:\n  root: a &lt;b&gt; é\n</pre>" in text
    facts = read_provenance(tmp_path / "facts.html")
    assert {"weights.safetensors", "benchmarks/train_classifier.tsv"} <= set(facts["inputs"])
    # The same content made again at another time: the page shows the new time.
    again = {"provenance": facts_of(tmp_path, start="2001-02-03T04:05:06+00:00")}
    (tmp_path / "scores/cam.json").write_text(json.dumps(again))
    run_facts(tmp_path, json.dumps({"seed": 0, "dataset": {"root": "a <b> é"}}))
    assert "2001-02-03 04:05:06" in (tmp_path / "facts.html").read_text()


def test_a_broken_configuration_is_named(tmp_path):
    done = run_facts(tmp_path, "{seed: 0}")
    assert done.returncode == 2
    assert "argument --config: invalid" in done.stderr
    assert "Traceback" not in done.stderr
