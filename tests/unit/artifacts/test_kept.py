"""Kept outputs: a job that starts again in vain restores them byte for byte."""

import errno
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from i2crc.artifacts import kept
from i2crc.artifacts.kept import keep, make_once, restore
from i2crc.artifacts.provenance import Origin, provenance_file, read_provenance
from i2crc.runtime.atomic import read_json
from i2crc.runtime.errors import InputError


class Job:
    """A job with two outputs of the same name in two folders, and the content that it writes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.script, self.input = root / "script.py", root / "input.txt"
        self.script.write_text("A = 1\n")
        self.input.write_text("input")
        self.outputs = [root / "out/a.json", root / "out/more/a.json"]
        self.settings = {"b": 1}
        self.made = 0

    def run(self) -> int:
        """Delete the outputs, as Snakemake does, and start; how often they were made so far."""
        for path in self.outputs:
            path.unlink(missing_ok=True)
        make_once(Origin(self.script, [self.input], self.settings), self.outputs, self.make)
        return self.made

    def make(self) -> list[dict]:
        self.made += 1
        random = os.urandom(9).hex()
        return [
            {"made": self.made, "number": n, "random": random} for n in range(len(self.outputs))
        ]

    def read(self) -> list[bytes]:
        return [path.read_bytes() for path in self.outputs]

    @property
    def folder(self) -> Path:
        return self.root / "out/.kept/a-json"


@pytest.fixture
def job(tmp_path):
    return Job(tmp_path)


def test_outputs_are_restored_byte_for_byte(job):
    assert job.run() == 1
    before = job.read()
    assert before[0] != before[1]
    assert job.run() == 1
    assert job.read() == before


def test_copies_are_not_taken_for_artifacts(job):
    job.run()
    assert sorted(job.root.rglob("*.json")) == job.outputs


def test_each_kind_of_output_has_its_provenance(tmp_path):
    script = tmp_path / "draw.py"
    script.write_text("")
    outputs = [tmp_path / "out" / name for name in ("a.json", "b.svg", "c.zip")]
    origin = Origin(script, [], {"b": 1})
    calls = []

    def make():
        calls.append(1)
        outputs[2].parent.mkdir(exist_ok=True)
        outputs[2].write_bytes(b"packed")
        return [{"x": 1}, b"<svg>", None]

    make_once(origin, outputs, make)
    assert read_json(outputs[0])["x"] == 1
    assert [path.read_bytes() for path in outputs[1:]] == [b"<svg>", b"packed"]
    assert all(read_provenance(path)["settings"] == {"b": 1} for path in outputs)
    for path in (*outputs, *map(provenance_file, outputs[1:])):
        path.unlink()
    make_once(origin, outputs, make)
    assert len(calls) == 1
    assert all(read_provenance(path)["settings"] == {"b": 1} for path in outputs)
    make_once(origin, outputs, make, key="what is not recorded")
    assert len(calls) == 2


def test_outputs_with_problems_or_damaged_files_are_made_again(tmp_path):
    script, output, listed = (tmp_path / name for name in ("s.py", "out.json", "listed"))
    script.write_text("")
    contents = [
        {"problems": [{"file": "x", "problem": "y", "remedy": "z"}]},
        {"sizes": {"listed": 3}, "problems": []},
        {"sizes": {"listed": 3}, "problems": []},
    ]
    calls = []

    def make():
        calls.append(1)
        listed.write_bytes(b"abc")
        return [contents[len(calls) - 1]]

    for _ in range(3):
        make_once(Origin(script, []), [output], make)
    assert len(calls) == 2
    listed.unlink()
    make_once(Origin(script, []), [output], make)
    assert len(calls) == 3 and listed.exists()


def test_a_missing_input_is_named(job):
    job.input.unlink()
    with pytest.raises(InputError, match=r"input.txt: missing; run the stage that makes it again"):
        job.run()


def change_input(job):
    job.input.write_text("other")


def change_code(job):
    job.script.write_text("A = 2\n")


def change_settings(job):
    job.settings = {"b": 2}


@pytest.mark.parametrize("change", [change_input, change_code, change_settings])
def test_another_input_code_or_setting_makes_anew(job, change):
    job.run()
    change(job)
    assert job.run() == 2
    after = job.read()
    assert job.run() == 2
    assert job.read() == after


def test_a_touched_input_and_a_comment_make_nothing(job):
    job.run()
    os.utime(job.input, (1, 1))
    job.script.write_text("A = 1  # one\n")
    assert job.run() == 1


def test_other_outputs_are_not_mistaken_for_the_kept_ones(job):
    job.run()
    job.outputs = [job.outputs[0], job.root / "out/more/b.json"]
    assert job.run() == 2
    job.outputs = job.outputs[:1]
    assert job.run() == 3


@pytest.mark.parametrize("name", ["record", "0", "1"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"[3]"),
        lambda path: path.write_bytes(path.read_bytes()[:-3]),
    ],
    ids=["deleted", "emptied", "foreign", "cut"],
)
def test_a_damaged_copy_is_not_used(job, name, damage):
    job.run()
    damage(job.folder / name)
    assert job.run() == 2
    after = job.read()
    assert job.run() == 2
    assert job.read() == after


@given(st.binary(max_size=60))
def test_a_record_of_any_bytes_restores_nothing(tmp_path_factory, content):
    job = Job(tmp_path_factory.mktemp("kept"))
    job.run()
    (job.folder / "record").write_bytes(content)
    assert job.run() == 2


class KilledError(BaseException):
    """Ends the process in place of kill -9."""


@pytest.mark.parametrize("step", range(1, 6))
@pytest.mark.parametrize("before", [False, True])
def test_a_kill_between_the_files_of_keep_restores_nothing_wrong(job, monkeypatch, step, before):
    """Killed while the outputs of other settings are written or kept: two files, copies, record."""
    if before:
        job.run()
        old = job.read()
        job.settings = {"b": 2}
    calls = []

    def killed(function):
        def call(*arguments):
            calls.append(arguments)
            if len(calls) == step:
                raise KilledError
            return function(*arguments)

        return call

    monkeypatch.setattr(kept.shutil, "copyfile", killed(shutil.copyfile))
    monkeypatch.setattr(kept, "write_json", killed(kept.write_json))
    with pytest.raises(KilledError):
        job.run()
    monkeypatch.undo()
    made = job.made
    assert job.run() == made + 1
    if before:
        assert job.read() != old
        job.settings = {"b": 1}
        assert job.run() == made + 2


def test_a_kill_while_outputs_are_restored_costs_nothing(job, monkeypatch):
    job.run()
    before = job.read()
    calls = []

    def copy(source, target):
        calls.append(target)
        if len(calls) == 2:
            raise KilledError
        Path(target).write_bytes(Path(source).read_bytes())

    monkeypatch.setattr(kept.shutil, "copyfile", copy)
    with pytest.raises(KilledError):
        job.run()
    monkeypatch.undo()
    assert job.run() == 1
    assert job.read() == before


def test_a_full_disk_does_not_lose_what_is_finished(tmp_path, monkeypatch, caplog):
    output = tmp_path / "a.json"
    output.write_text("1")
    keep("old", [output])

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(kept.shutil, "copyfile", full)
    output.write_text("2")
    keep("new", [output])
    assert f"{output}: not kept for the next start (No space left on device)" in caplog.text
    monkeypatch.undo()
    assert not restore("new", [output])
    assert not restore("old", [output])
    assert output.read_text() == "2"


def test_a_full_disk_while_restoring_is_an_error(job, monkeypatch):
    job.run()

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(kept.shutil, "copyfile", full)
    with pytest.raises(OSError, match="No space"):
        job.run()
    monkeypatch.undo()
    assert job.run() == 1
