"""The logger plugin: records of Snakemake in, lines for people out."""

import logging
from types import SimpleNamespace

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

from i2crc.runtime.log import WARNINGS_ONLY
from snakemake_logger_plugin_i2crc import LogHandler

END = "12:00:09 done\n"


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


def lines(capsys) -> list[str]:
    """Return what was printed, without the times."""
    output = capsys.readouterr()
    assert not output.out
    return [line.partition(" ")[2] for line in output.err.splitlines()]


def test_a_stage_has_a_line_at_its_start_and_one_at_its_end(make, tmp_path, capsys):
    log = tmp_path / "preflight.log"
    log.write_text(f"12:00:00 python x.py\n12:00:01 no problems; 0.0512345678 GB\n{END}")
    handler = make()
    send(handler, LogEvent.RUN_INFO, "Job stats", stats={"preflight": 1, "total": 1})
    send(handler, text="Building DAG of jobs...")
    start(handler, 4, "preflight", log)
    finish(handler, 4)
    first, last = lines(capsys)
    assert first == "start  preflight"
    assert last.split()[:2] == ["done", "preflight"]
    assert last.endswith(" s  no problems; 0.05123 GB")


def test_a_stage_that_says_nothing_is_described(make, tmp_path, capsys):
    log = tmp_path / "render_demo.log"
    log.write_text(f"12:00:00 python x.py --settings '{{}}'\n{END}")
    handler = make()
    send(handler, LogEvent.RUN_INFO, "Job stats", stats={"render_demo": 1})
    start(handler, 1, "render_demo", log)
    finish(handler, 1)
    assert lines(capsys)[1].endswith("drew the demo's photographs, masks and saliency maps")


def test_shards_are_one_stage_with_their_counts_added_up(make, tmp_path, capsys):
    handler = make()
    send(handler, LogEvent.RUN_INFO, "Job stats", stats={"predict": 2})
    for number in (1, 2):
        log = tmp_path / f"{number}-of-2.log"
        log.write_text(
            f"12:00:00 python x.py\n12:00:01 predict: {4 * number} images, 9 files\n{END}"
        )
        wildcards = {"round": "final", "split": "val", "shard": log.stem}
        start(handler, number, "predict", log, **wildcards)
    finish(handler, 1)
    assert handler.stages["predict/final/val"].progress() == "predict/final/val 1 of 2 shards"
    finish(handler, 2)
    first, last = lines(capsys)
    assert first == "start  predict/final/val 2 shards"
    assert "done   predict/final/val 2 shards " in last
    assert last.endswith("12 images, 18 files")


def test_a_stage_whose_other_shards_are_current_ends(make, tmp_path, capsys):
    handler = make()
    send(handler, LogEvent.RUN_INFO, "Job stats", stats={"crf": 1})
    start(handler, 1, "crf", tmp_path / "none.log", shard="2-of-3")
    finish(handler, 1)
    assert lines(capsys)[1].startswith("done   crf 1 of 3 shards ")


def test_a_training_shows_its_loss_and_how_far_it_is(make, tmp_path, capsys):
    log = tmp_path / "classifier.log"
    pace = "12:00:01 iteration {}/9 learning_rate 0.1 loss 1.25 other 2 23.5 images/s ETA 0:00:07\n"
    log.write_text("12:00:00 python x.py\n" + pace.format(3))
    handler = make()
    send(handler, LogEvent.RUN_INFO, "Job stats", stats={"train_classifier": 1})
    start(handler, 1, "train_classifier", log)
    progress = handler.stages["train_classifier"].progress()
    assert progress == "train_classifier, iteration 3 of 9, ETA 0:00:07"
    log.write_text("12:00:00 python x.py\n" + pace.format(9) + END)
    finish(handler, 1)
    assert lines(capsys)[1].endswith("iteration 9/9, loss 1.25")


def test_a_failed_job_shows_its_error_and_its_log_alone(make, tmp_path, capsys):
    log = tmp_path / "preflight.log"
    log.write_text("12:00:00 python x.py\n12:00:01 2 problems:\n  a\n  b\n12:00:02 failed\n")
    handler = make(quiet={"all"})
    facts = {"level": logging.ERROR, "jobid": 4, "rule_name": "preflight", "log": [str(log)]}
    start(handler, 4, "preflight", log)
    text = "RuleException:\nCalledProcessError in file x.smk:\nCommand '{}' returned 1"
    send(handler, LogEvent.ERROR, text, level=logging.ERROR)
    send(handler, LogEvent.JOB_ERROR, "Error in rule", **facts)
    send(handler, text="Exiting because a job execution failed. Look", level=logging.ERROR)
    printed = capsys.readouterr().err.splitlines()
    assert printed[0].endswith(" FAILED preflight")
    assert printed[1:] == ["    2 problems:", "      a", "      b", f"    log: {log}"]


def test_a_job_that_was_killed_is_said_to_be(make, tmp_path, capsys):
    log = tmp_path / "crf.log"
    log.write_text("12:00:00 python x.py\n12:00:01 image 3/9\n")
    facts = {"level": logging.ERROR, "jobid": 4, "rule_name": "crf", "log": [str(log)]}
    send(make(), LogEvent.JOB_ERROR, "Error in rule", **facts)
    assert "    killed, or it could not start\n" in capsys.readouterr().err


def test_a_job_that_was_stopped_has_not_failed(make, tmp_path, capsys):
    log = tmp_path / "crf.log"
    log.write_text(
        "12:00:00 python x.py\n12:00:01 stopped by SIGINT; start again and it continues\n"
    )
    facts = {"level": logging.ERROR, "jobid": 4, "rule_name": "crf", "log": [str(log)]}
    send(make(), LogEvent.JOB_ERROR, "Error in rule", **facts)
    assert " stop   crf\n    stopped by SIGINT;" in capsys.readouterr().err


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


@pytest.mark.parametrize("option", ["dryrun", "verbose", "debug_dag"])
def test_where_snakemake_speaks_the_plugin_is_silent(make, monkeypatch, capsys, option):
    handler = make(**{option: True})
    assert not handler.writes_to_stream
    send(handler, text="a problem", level=logging.ERROR)
    assert capsys.readouterr().err == ""


def test_command_lines_are_shown_if_asked_for(make, tmp_path, capsys):
    start(make(printshellcmds=True), 1, "crf", tmp_path / "crf.log")
    assert "python x.py --settings" in capsys.readouterr().err
