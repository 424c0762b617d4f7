"""What is read off sinfo, played by a script."""

import pytest

from i2crc.runtime import slurm
from i2crc.runtime.errors import InputError
from i2crc.runtime.slurm import Node, largest_node

UNEQUAL = """\
16|64000|(null)
128|515000+|gpu:a100:4(S:0-1),gpu:1,shard:8
2|1031000|license:3
"""


@pytest.mark.parametrize(
    ("script", "node"),
    [
        (f"cat << END\n{UNEQUAL}END", Node(128, 1031000, 5)),
        ("echo '2|22000|gpu:2'", Node(2, 22000, 2)),
        ("echo '2|22000|(null)'", Node(2, 22000, 0)),
        ("true", None),
    ],
)
def test_largest_node(tmp_path, monkeypatch, script, node):
    play(script, tmp_path, monkeypatch)
    assert largest_node() == node


def test_a_slurm_that_does_not_answer_is_no_slurm_without_nodes(tmp_path, monkeypatch):
    play(
        "echo 'sinfo: error: Unable to contact slurm controller' >&2; exit 1", tmp_path, monkeypatch
    )
    with pytest.raises(InputError, match=r"does not answer.*Unable to contact.*again when it does"):
        largest_node()
    monkeypatch.setattr(slurm, "SECONDS", 0.1)
    play("exec sleep 9", tmp_path, monkeypatch)
    with pytest.raises(InputError, match=r"does not answer.*timed out after 0\.1 seconds"):
        largest_node()


def play(script, folder, monkeypatch):
    program = folder / "sinfo"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


def test_without_slurm_there_is_none(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert largest_node() is None
