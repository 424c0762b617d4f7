"""The command `i2crc`: quick help, errors in one line, and quiet ends."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from i2crc.cli.main import COMMANDS
from i2crc.runtime.progress import Status, status_path

COMMAND = Path(sys.executable).with_name("i2crc")
HEAVY = {"pydantic", "numpy", "torch", "PIL", "snakemake", "yaml", "tqdm"}
# Sub-command -> what it needs beside its first argument.
FURTHER = {
    "new": ("--output", "new.yaml"),
    "segment": ("nothing", "--output", "segmented"),
    "export": ("--labels", "coco", "--output", "exported"),
}
# Prints the imported modules at the end, whatever that is.
MODULES = """
import atexit, sys
atexit.register(lambda: print(*sys.modules, file=sys.stderr))
from i2crc.cli.main import main
main()
"""


@pytest.fixture
def started(tmp_path):
    """The results of a run in which one job has begun."""
    (tmp_path / "logs").mkdir()
    status_path(tmp_path / "logs/score.log").write_text(Status().model_dump_json())
    return tmp_path


def run(*words, **options) -> subprocess.CompletedProcess:
    return subprocess.run([COMMAND, *words], capture_output=True, text=True, **options)


def test_help_names_every_command_and_imports_nothing_heavy():
    command = [sys.executable, "-c", MODULES, "--help"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0
    assert all(name in done.stdout for name in COMMANDS)
    modules = set(done.stderr.split())
    assert "i2crc.cli.main" in modules
    assert not HEAVY & modules
    assert not {f"i2crc.cli.{name}" for name in COMMANDS} & modules


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_needs_an_argument(name):
    done = run(name, "--help")
    assert done.returncode == 0 and COMMANDS[name] in " ".join(done.stdout.split())
    done = run(name)
    assert done.returncode == 2 and "required" in done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_an_input_error_is_one_line_and_status_1(name, tmp_path):
    done = run(name, "nothing", *FURTHER.get(name, ()), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"i2crc {name}: ") and "nothing: " in line and "; give " in line


def test_an_error_of_the_disk_is_explained(tmp_path):
    """A folder without permission: root reads it all the same, so the error is made."""
    code = (
        "from i2crc.cli import explain, main\n"
        "def trace(*_): raise PermissionError(13, 'no', '/data/a.json')\n"
        "explain.trace = trace\n"
        "main.main()"
    )
    command = [sys.executable, "-c", code, "explain", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("i2crc explain: /data/a.json: no permission (file system at ")
    assert done.stderr.endswith("change the owner or the mode (chown, chmod).\n")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_quietly(how, started):
    command = [COMMAND, "progress", started, "--watch", "600"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.send_signal(how)
        assert process.communicate()[1] == b""
    assert process.returncode == -how


@pytest.mark.parametrize("words", [["--help"], ["explain", "--help"], ["progress", "FOLDER"]])
def test_a_closed_pipe_ends_it_quietly(words, started, monkeypatch):
    # Without a buffer, argparse itself ignores that its help cannot be written.
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    command = [COMMAND, *(started if word == "FOLDER" else word for word in words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == -signal.SIGPIPE
