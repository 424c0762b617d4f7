"""The logger plugin: records of Snakemake in, lines for people out."""

import logging
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

from i2crc.runtime.log import WARNINGS_ONLY
from i2crc.runtime.progress import Status, status_path
from snakemake_logger_plugin_i2crc import LogHandler


@pytest.fixture
def make(monkeypatch):
    """Return a function that makes a handler, with the options that Snakemake was given."""
    # Set first, so that what the handler sets is undone after the test.
    monkeypatch.setenv(WARNINGS_ONLY, "")
    monkeypatch.delenv(WARNINGS_ONLY)
    handlers = []

    def build(**options) -> LogHandler:
        names = ("dryrun", "verbose", "debug_dag", "printshellcmds", "stdout")
        settings = SimpleNamespace(**{**dict.fromkeys(names, False), "quiet": None, **options})
        handlers.append(LogHandler(settings, None))
        return handlers[-1]

    yield build
    for handler in handlers:
        handler.close()


def send(handler: LogHandler, event: LogEvent | None = None, text: str = "", **facts) -> None:
    """Give a handler a record as Snakemake makes it."""
    level = facts.pop("level", logging.INFO)
    record = logging.LogRecord("snakemake", level, "", 1, text, (), None)
    vars(record).update(facts, **({"event": event} if event else {}))
    handler.handle(record)


def start(handler: LogHandler, number: int, rule: str, log, **wildcards) -> None:
    """Let a job start."""
    facts = {"jobid": number, "rule_name": rule, "wildcards": wildcards, "log": [str(log)]}
    send(handler, LogEvent.JOB_INFO, f"Rule: {rule}", **facts)
    send(handler, LogEvent.SHELLCMD, "python x.py --settings '{\"a\": 1}'")


def finish(handler: LogHandler, number: int) -> None:
    """Let a job end."""
    send(handler, LogEvent.JOB_FINISHED, f"Finished jobid: {number}", job_id=number)


def job(folder: Path, name: str, message: str = "", age: float = -1, **facts) -> Path:
    """Write the status of a job; return its log."""
    facts = {"state": "done", **facts}
    status = Status(message=message, written=time.time() - age, **facts)
    log = folder / f"{name}.log"
    status_path(log).write_text(status.model_dump_json())
    return log


def fail(handler: LogHandler, rule: str, log: Path) -> None:
    """Let a job fail."""
    facts = {"level": logging.ERROR, "jobid": 4, "rule_name": rule, "log": [str(log)]}
    send(handler, LogEvent.JOB_ERROR, "Error in rule", **facts)


def lines(capsys) -> list[str]:
    """Return what was printed, without the times."""
    output = capsys.readouterr()
    assert not output.out
    return [line.partition(" ")[2] for line in output.err.splitlines()]


def test_a_stage_has_a_line_at_its_start_and_one_at_its_end(make, tmp_path, capsys):
    log = job(tmp_path, "preflight", "no problems; 0.05 GB\nof disk")
    handler = make()
    send(handler, LogEvent.RUN_INFO, "Job stats", stats={"preflight": 1, "total": 1})
    send(handler, text="Building DAG of jobs...")
    start(handler, 4, "preflight", log)
    finish(handler, 4)
    first, last = lines(capsys)
    assert first == "start  preflight"
    assert last.split()[:2] == ["done", "preflight"]
    assert last.endswith(" s  no problems; 0.05 GB")


@pytest.mark.parametrize("rule", ["render_demo", "base-0.render_demo"])  # of an ablation
def test_a_stage_that_says_nothing_is_described(make, tmp_path, capsys, rule):
    handler = make()
    send(handler, LogEvent.RUN_INFO, "Job stats", stats={rule: 1})
    start(handler, 1, rule, job(tmp_path, "render_demo"))
    finish(handler, 1)
    assert lines(capsys)[1].endswith("drew the demo's photographs, masks and saliency maps")


def test_shards_are_one_stage_with_their_counts_added_up(make, tmp_path, capsys):
    handler = make()
    send(handler, LogEvent.RUN_INFO, "Job stats", stats={"predict": 2})
    for number in (1, 2):
        log = job(tmp_path, f"{number}-of-2", f"predict: {4 * number} images, 9 files")
        wildcards = {"round": "final", "split": "val", "shard": log.stem}
        start(handler, number, "predict", log, **wildcards)
    finish(handler, 1)
    line = handler.stages["predict/final/val"]
    assert handler.progress(line) == "predict/final/val 1 of 2 jobs"
    finish(handler, 2)
    assert handler.progress(line) == ""
    first, last = lines(capsys)
    assert first == "start  predict/final/val 2 jobs"
    assert "done   predict/final/val 2 jobs " in last
    assert last.endswith("12 images, 18 files")


def test_a_stage_whose_other_shards_are_current_ends(make, tmp_path, capsys):
    handler = make()
    send(handler, LogEvent.RUN_INFO, "Job stats", stats={"crf": 1})
    start(handler, 1, "crf", tmp_path / "none.log", shard="2-of-3")
    finish(handler, 1)
    assert lines(capsys)[1].startswith("done   crf 1 of 3 jobs ")


def test_the_files_of_a_rule_of_the_report_are_one_stage(make, tmp_path, capsys):
    handler = make()
    send(handler, LogEvent.RUN_INFO, "Job stats", stats={"contact_sheet": 2})
    for number, kind in enumerate(("best", "worst")):
        start(handler, number, "contact_sheet", tmp_path / "none.log", kind=kind)
        finish(handler, number)
    first, last = lines(capsys)
    assert first == "start  contact_sheet 2 jobs"
    assert last.startswith("done   contact_sheet 2 jobs ") and last.endswith("through all stages")


def test_the_live_line_shows_how_far_the_running_jobs_are(make, tmp_path):
    handler = make()
    facts = {"state": "running", "total": 40}
    for number in (1, 2):
        facts |= {"done": 10 * number, "seconds_left": 7 * number}
        log = job(tmp_path, f"{number}-of-3", **facts)
        start(handler, number, "crf", log, shard=log.stem)
    earlier_run = job(tmp_path, "3-of-3", age=60, **facts)
    start(handler, 3, "crf", earlier_run, shard="3-of-3")
    shown = handler.progress(handler.stages["crf"])
    assert shown == "crf 3 jobs, image 30 of 80, ETA 0:00:14"


def test_a_failed_job_shows_its_error_and_its_log_alone(make, tmp_path, capsys):
    handler = make(quiet={"all"})
    start(handler, 4, "preflight", tmp_path / "preflight.log")
    # A node's clock may be behind this one's.
    log = job(tmp_path, "preflight", "2 problems:\n  a\n  b", state="failed", age=60)
    text = "RuleException:\nCalledProcessError in file x.smk:\nCommand '{}' returned 1"
    send(handler, LogEvent.ERROR, text, level=logging.ERROR)
    fail(handler, "preflight", log)
    send(handler, text="Exiting because a job execution failed. Look", level=logging.ERROR)
    printed = capsys.readouterr().err.splitlines()
    assert printed[0].endswith(" FAILED preflight")
    assert printed[1:] == ["    2 problems:", "      a", "      b", f"    log: {log}"]


@pytest.mark.parametrize(
    "facts", [{"state": "running"}, {"state": "failed", "age": 60}, {"state": "done", "age": 60}]
)
def test_a_job_that_was_killed_or_did_not_start_is_said_to_be(make, tmp_path, capsys, facts):
    earlier_run = job(tmp_path, "crf", "image 3/9", **facts)
    handler = make()
    start(handler, 4, "crf", earlier_run)
    fail(handler, "crf", earlier_run)
    assert "FAILED crf\n    killed, crashed, or it could not start\n" in capsys.readouterr().err
    fail(make(), "crf", tmp_path / "none.log")
    assert "FAILED crf\n    killed, crashed, or it could not start\n" in capsys.readouterr().err


def test_a_job_that_was_stopped_has_not_failed(make, tmp_path, capsys):
    fail(make(), "crf", job(tmp_path, "crf", "stopped by SIGINT; start again", state="stopped"))
    assert " STOPPED crf\n    stopped by SIGINT;" in capsys.readouterr().err


def test_problems_and_messages_of_the_rules_are_shown(make, capsys):
    handler = make()
    send(handler, LogEvent.ERROR, "WorkflowError:\nno such setting", level=logging.ERROR)
    send(handler, text="a\33[2Jb", level=logging.WARNING)
    send(handler, text="Nothing to be done")
    printed = capsys.readouterr().err
    assert printed == "WorkflowError:\nno such setting\na?[2Jb\nNothing to be done\n"


@pytest.mark.parametrize("quiet", [{"all"}, {"progress", "rules"}])
def test_quiet_leaves_only_problems(make, tmp_path, capsys, quiet):
    handler = make(quiet=quiet)
    send(handler, LogEvent.RUN_INFO, "Job stats", stats={"crf": 1})
    start(handler, 1, "crf", tmp_path / "crf.log")
    finish(handler, 1)
    send(handler, text="Nothing to be done")
    send(handler, text="low on disk", level=logging.WARNING)
    assert capsys.readouterr().err == "low on disk\n"


@pytest.mark.parametrize("option", ["dryrun", "printshellcmds", "verbose", "debug_dag"])
def test_where_snakemake_speaks_the_plugin_is_silent(make, monkeypatch, capsys, option):
    handler = make(**{option: True})
    assert not handler.writes_to_stream
    send(handler, text="a problem", level=logging.ERROR)
    assert capsys.readouterr().err == ""
