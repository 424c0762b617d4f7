"""What a person sees of a run: stages, not jobs; on a terminal, live; errors without a flood."""

import os
import pty
import re
import subprocess

import pytest

from helpers.project import Project

LINE = re.compile(
    r"Using workflow specific profile .*|\d+:\d\d:\d\d (start  \S+|done   \S+ +\d+\.\d s  \S.*)"
)
TARGET = "results/demo/data/leaks.json"


def test_a_pipe_gets_lines_of_stages_and_a_dry_run_the_plan(tmp_path):
    project = Project.new(tmp_path / "project")
    plan = project.snakemake("--dry-run", TARGET)
    assert "Job stats:" in plan.stdout and "reason: Missing output files" in plan.stdout
    assert "--settings" not in plan.stdout + plan.stderr
    done = project.snakemake(TARGET)
    assert done.returncode == 0, done.stderr
    printed = done.stderr.splitlines()
    stages = ["render_demo", "prepare_data/train", "prepare_data/val", "check_leaks"]
    assert sorted(stages) == sorted(line.split()[2] for line in printed if " start " in line)
    assert sorted(stages) == sorted(line.split()[2] for line in printed if " done " in line)
    assert all(map(LINE.fullmatch, printed)), done.stderr
    assert (project.folder / ".snakemake/log").exists()
    (log,) = (project.folder / ".snakemake/log").iterdir()
    assert "rule check_leaks:" in log.read_text()
    again = project.snakemake(TARGET)
    assert "Nothing to be done" in again.stderr
    quiet = project.snakemake(TARGET, "--quiet", "--forcerun", "check_leaks")
    assert quiet.returncode == 0
    assert quiet.stderr.splitlines() == printed[:1]
    # A failure: its message and its log, and how to go on.
    failed = project.snakemake(settings={"saliency": {"location": "nowhere.tar.gz"}})
    assert failed.returncode == 1
    head, *problems, log, rest = failed.stderr.partition(" FAILED ")[2].splitlines()
    assert head == "preflight" and log == "    log: results/demo/logs/preflight.log"
    assert [line for line in problems if "nowhere.tar.gz: no such file" in line] == problems[1:]
    assert "is not finished. Nothing finished is lost" in rest


@pytest.mark.exhaustive
def test_a_terminal_shows_what_runs(tmp_path):
    project = Project.new(tmp_path / "project")
    main, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "PYTHONPATH": "workflow_scripts"}
    process = subprocess.Popen(
        project.command(TARGET),
        cwd=project.folder,
        env=environment,
        stderr=terminal,
        stdout=subprocess.DEVNULL,
    )
    os.close(terminal)
    output = b""
    try:
        while block := os.read(main, 65536):
            output += block
    except OSError:
        pass  # the other end was closed
    os.close(main)
    assert process.wait() == 0, output
    live = re.findall(r"\r\x1b\[K([^\r\n]*)\r(?!\n)", output.decode())
    assert any("render_demo" in line or "prepare_data" in line for line in live), output
    assert max(map(len, live)) < 80
    assert output.endswith(b"\r\x1b[K")
