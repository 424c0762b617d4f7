"""Files that are whole or absent, and what killed processes leave of them."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from i2crc.runtime.atomic import (
    HOST,
    atomic_path,
    files_digest,
    read_json,
    write_bytes,
    write_json,
)
from i2crc.runtime.errors import InputError, Problem

DIE = """
import os, signal, sys
from pathlib import Path
from i2crc.runtime.atomic import atomic_path
with atomic_path(Path(sys.argv[1])) as temporary:
    temporary.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("name", ["a.b.png", "history.csv", "no suffix"])
def test_what_a_killed_process_left_goes_when_something_is_written_there_again(tmp_path, name):
    environment = {"PYTHONPATH": ":".join(sys.path)}
    subprocess.run([sys.executable, "-c", DIE, str(tmp_path / name)], env=environment, check=False)
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(f".{Path(name).stem}.")
    others = {
        f".a.{HOST}-{os.getpid()}.tmp.png",  # of a living process
        f".a.{'0' * 8}-{2**22 + 1}.tmp.png",  # of another machine
        ".a.tmp.png",
    }
    for name in others:
        (tmp_path / name).write_bytes(b"")
    write_bytes(tmp_path / "new.png", b"whole")
    assert {path.name for path in tmp_path.iterdir()} == {"new.png"} | others


def test_a_block_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.txt"
    write_bytes(path, b"old")
    try:
        with atomic_path(path) as temporary:
            temporary.write_bytes(b"new")
            raise ValueError
    except ValueError:
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_bytes() == b"old"


def test_unreadable_json_is_an_input_error_with_a_remedy(tmp_path):
    (tmp_path / "half.json").write_text("{")
    (tmp_path / "folder.json").mkdir()
    for name, words in {
        "none.json": "missing; run the stage that makes it again",
        "half.json": "not valid JSON .* delete it and run again",
        "folder.json": "cannot be read .* make it readable",
    }.items():
        with pytest.raises(InputError, match=f"{name}: {words}"):
            read_json(tmp_path / name)


def test_a_digest_of_files_sees_name_size_and_time_but_not_content(tmp_path):
    folder = tmp_path / "photographs"
    folder.mkdir()
    file = folder / "a.jpg"
    file.write_bytes(b"one")
    os.utime(file, (1, 1))
    before = files_digest(folder)
    file.write_bytes(b"two")
    os.utime(file, (1, 1))
    assert files_digest(folder) == before
    os.utime(file, (2, 2))
    assert files_digest(folder) != before
    assert files_digest(tmp_path / "none") == files_digest(tmp_path / "none too")


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "cats/a.jpg").unlink(),
        lambda folder: (folder / "cats/a.jpg").rename(folder / "a.jpg"),
        lambda folder: (folder / "cats").rename(folder / "dogs"),
        lambda folder: (folder / "cats/b.jpg").write_bytes(b""),
        lambda folder: (folder / "link.jpg").unlink(),
        lambda folder: (folder.with_name("elsewhere")).write_bytes(b"more"),
        lambda folder: (folder.with_name("elsewhere")).unlink(),
        lambda folder: (folder / "dogs").mkdir(),
    ],
)
def test_a_digest_of_files_sees_each_change_below_the_folder(tmp_path, change):
    folder = tmp_path / "photographs"
    for file in (folder / "cats/a.jpg", folder.with_name("elsewhere")):
        write_bytes(file, b"one")
    (folder / "link.jpg").symlink_to(folder.with_name("elsewhere"))
    before = files_digest(folder)
    assert files_digest(folder) == before
    change(folder)
    assert files_digest(folder) != before


def test_json_with_dataclasses_is_what_it_would_be_with_their_fields(tmp_path):
    problem = Problem("ä.jpg", "missing", "add it")
    write_json(tmp_path / "a.json", {"problems": [problem]})
    text = json.dumps({"problems": [asdict(problem)]}, indent=1, ensure_ascii=False)
    assert (tmp_path / "a.json").read_text() == f"{text}\n"


def test_json_holds_file_names_that_are_no_utf_8(tmp_path):
    names = [os.fsdecode(b"caf\xe9.jpg"), "café.jpg"]
    write_json(tmp_path / "a.json", names)
    assert read_json(tmp_path / "a.json") == names


def test_objects_are_converted_while_a_file_is_read(tmp_path):
    write_json(tmp_path / "a.json", {"images": [{"id": "a"}, {"id": "b"}]})
    found = read_json(tmp_path / "a.json", lambda one: one.get("id", one))
    assert found == {"images": ["a", "b"]}


def test_a_digest_of_files_follows_links_but_leaves_out_hidden_files_and_outputs(tmp_path):
    folder, cats = tmp_path / "photographs", tmp_path / "cats"
    for path in (folder, cats):
        path.mkdir()
    (folder / "cat").symlink_to(cats)
    (cats / "circle").symlink_to(folder)
    seen = {files_digest(folder, [folder / "results"])}
    for name in ("results/1.png", ".snakemake/1", ".DS_Store"):
        write_bytes(folder / name, b"")
        seen.add(files_digest(folder, [folder / "results"]))
    assert len(seen) == 1
    (cats / "1.jpg").touch()
    assert files_digest(folder, [folder / "results"]) not in seen
