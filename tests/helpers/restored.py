"""Check that a stage whose outputs are kept restores them, without heavy imports."""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HEAVY = re.compile(r"\| +(numpy|torch|PIL|matplotlib|timm)$", re.MULTILINE)


def check_restored(command: Sequence[object], outputs: Sequence[Path], folder: Path) -> None:
    """Start a finished stage in `folder` again, without its outputs, and check that they return.

    `command` is the script and its arguments.
    """
    before = {output: output.read_bytes() for output in outputs}
    for output in outputs:
        output.unlink()
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *map(str, command)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "already made" in done.stderr
    assert not HEAVY.findall(done.stderr)
    assert {output: output.read_bytes() for output in outputs} == before
