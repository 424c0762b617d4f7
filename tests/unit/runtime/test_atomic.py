"""Files that are whole or absent, and what killed processes leave of them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from i2crc.artifacts.contents import Contents
from i2crc.runtime.atomic import HOST, atomic_path, digest_file, write_bytes

DIE = """
import os, signal, sys
from pathlib import Path
from i2crc.files import atomic_path
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


def test_a_damaged_memory_of_contents_is_as_good_as_none(tmp_path):
    file = tmp_path / "a.txt"
    file.write_bytes(b"x")
    memory = tmp_path / ".contents.json"
    for damage in (b"", b"{", b"[]", b"3", b"\xff", b'{"a": 3}', b'{"%b": [1]}' % bytes(file)):
        memory.write_bytes(damage)
        contents = Contents(memory)
        assert contents.digests([file]) == {str(file): digest_file(file)}
        contents.save()
        assert Contents(memory).known
