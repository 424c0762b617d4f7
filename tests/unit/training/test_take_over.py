"""A training that an experiment beside this one has finished is taken over, and nothing else."""

from dataclasses import replace
from pathlib import Path

import pytest

from i2crc.artifacts.provenance import Origin, read_provenance
from i2crc.config.schema import Runtime, Training
from i2crc.runtime.atomic import digest_file, write_json
from i2crc.training.checkpoint import publish, read_finished, take_over
from i2crc.training.options import Plan


def plan(results: Path, experiment: str, seed: int = 0) -> Plan:
    folder = results / experiment
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text("")
    return Plan(
        settings=Training(),
        iterations=5,
        seed=seed,
        deterministic=False,
        origin=Origin(Path(__file__), []),
        determined_by={"settings": {"seed": seed}, "inputs": {}},
        runs=folder / "classifier/run",
        runtime=Runtime(),
    )


@pytest.fixture
def finished(tmp_path) -> Plan:
    """The finished training of another experiment, which took 60 seconds."""
    done = plan(tmp_path, "first")
    done.folder.mkdir(parents=True)
    done.weights.write_text("weights")
    done.history.write_text("history")
    record = {"facts": {"script": "x"}, "start": "2026-01-01", "seconds": 60.0, "leaks": ["a leak"]}
    record |= {"fingerprint": done.fingerprint, "weights_bytes": done.weights.stat().st_size}
    record |= {
        f"{name}_sha256": digest_file(getattr(done, name)) for name in ("weights", "history")
    }
    write_json(done.finished, record)
    return done


def test_the_same_training_is_taken_over_with_its_record_and_its_time(finished, tmp_path):
    own = plan(tmp_path, "second")
    assert read_finished(own) is None
    record = take_over(own)
    assert record == read_finished(own) == read_finished(finished)
    assert record["leaks"] == ["a leak"]
    publish(own, tmp_path / "weights", tmp_path / "history.csv")
    assert (tmp_path / "weights").read_text() == "weights"
    assert read_provenance(tmp_path / "weights")["seconds"] == 60


def test_another_training_is_not(finished, tmp_path):
    assert take_over(plan(tmp_path, "second", seed=1)) is None


@pytest.mark.parametrize("name", ["weights", "history", "finished"])
def test_an_unfinished_or_damaged_training_is_not(finished, tmp_path, name):
    getattr(finished, name).write_text("{}")
    own = plan(tmp_path, "second")
    assert take_over(own) is None
    assert read_finished(own) is None


def test_a_process_of_a_training_that_has_begun_does_not_look(finished, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "0")
    assert take_over(plan(tmp_path, "second")) is None


def test_nothing_is_taken_over_from_the_experiment_itself(finished):
    assert take_over(replace(finished, runs=finished.runs.with_name("other"))) is None
