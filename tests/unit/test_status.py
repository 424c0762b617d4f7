"""What the target `status` says, from the table that Snakemake prints."""

import pytest

import status
from i2crc.config import Config
from i2crc.files import InputError

HEADER = "output_file\tdate\trule\tlog-file(s)\tinput-file(s)\tshellcmd\tstatus\tplan\n"
OK, PENDING = "no update", "update pending"
SUMMARY = [
    ("data/train.json", "prepare_data", "-", "ok", OK),
    ("cams/1-of-2.json", "infer_cam", "data/train.json", "params changed", PENDING),
    ("cams/2-of-2.json", "infer_cam", "data/train.json", "ok", OK),
    ("labels/1-of-2.json", "gen_gt", "cams/1-of-3.json", "ok", OK),
    ("scores/cam.json", "score", "cams/1-of-2.json,cams/2-of-2.json", "ok", OK),
    ("quality.json", "saliency_quality", "data/train.json", "set of input files changed", OK),
]


def told(tmp_path, monkeypatch, rows, exist=True) -> list[str]:
    """The lines for a table, in a folder that has the files without saying how they were made."""
    monkeypatch.chdir(tmp_path)
    lines = [HEADER]
    for file, rule, inputs, state, plan in rows:
        if exist:
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file).write_text("{}")
        lines.append(f'{file}\t-\t{rule}\t-\t{inputs}\tpython "x.py" --a \'b"\'\t{state}\t{plan}\n')
    return status.report(status.read_summary(["Building DAG\n", *lines]), Config().model_dump())


def test_each_stage_is_current_stale_or_may_follow(tmp_path, monkeypatch):
    assert told(tmp_path, monkeypatch, SUMMARY) == [
        "current: prepare_data, saliency_quality",
        "stale: infer_cam (1 of 2 files): its settings or what it reads changed",
        "may follow, if what they read turns out different: gen_gt, score",
    ]


def test_all_current(tmp_path, monkeypatch):
    rows = [row for row in SUMMARY if row[3] != "params changed"]
    names = "gen_gt, infer_cam, prepare_data, saliency_quality, score"
    assert told(tmp_path, monkeypatch, rows) == [f"current: {names}"]


def test_what_will_run_is_never_called_current(tmp_path, monkeypatch):
    rows = [
        ("a.json", "crf", "-", "ok", PENDING),
        ("b.json", "score", "-", "set of input files changed", PENDING),
    ]
    assert told(tmp_path, monkeypatch, rows) == [
        "current: nothing",
        "stale: crf (1 of 1 files): its job did not finish",
        "stale: score (1 of 1 files): another set of files to read",
    ]


def test_what_is_missing_was_begun_or_not(tmp_path, monkeypatch):
    (tmp_path / "cams").mkdir()
    (tmp_path / "cams/1-of-2.journal").touch()
    (tmp_path / "weights.safetensors.provenance").touch()
    rows = [
        ("cams/1-of-2.json", "infer_cam", "-", "missing", PENDING),
        ("weights.safetensors", "train_classifier", "-", "missing", PENDING),
        ("crf/1-of-2.json", "crf", "-", "missing", PENDING),
    ]
    left = "gone or unfinished; what is left of it will be used"
    assert told(tmp_path, monkeypatch, rows, exist=False) == [
        "current: nothing",
        f"missing: infer_cam (1 of 1 files): {left}",
        f"missing: train_classifier (1 of 1 files): {left}",
        "missing: crf (1 of 1 files): not made yet",
    ]


def test_what_reads_something_stale_may_follow_and_what_was_removed_for_it(tmp_path, monkeypatch):
    rows = [
        ("labels/1-of-1.json", "gen_gt", "-", "ok", PENDING),
        ("weights.safetensors", "train", "labels/1-of-1.json", "params changed", PENDING),
        ("logits/1-of-1.json", "predict", "weights.safetensors", "removed temp file", PENDING),
        ("images/1-of-1.json", "predict", "weights.safetensors", "ok", PENDING),
        ("crf/1-of-1.json", "crf", "logits/1-of-1.json,images/1-of-1.json", "ok", PENDING),
    ]
    assert told(tmp_path, monkeypatch, rows) == [
        "current: nothing",
        "stale: gen_gt (1 of 1 files): its job did not finish",
        "may follow, if what they read turns out different: crf, predict, train",
    ]
    assert told(tmp_path, monkeypatch, rows[2:]) == [
        "current: nothing",
        "stale: predict (2 of 2 files): removed after its use, and needed again",
        "stale: crf (1 of 1 files): its job did not finish",
    ]


def test_no_table_is_an_error_with_what_was_printed():
    with pytest.raises(InputError, match="LockException"):
        status.read_summary(["LockException\n"])
