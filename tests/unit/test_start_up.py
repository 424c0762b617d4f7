"""What the scripts import: little for `--help` and a finished stage, torch only for a network."""

import os
import subprocess
import sys

import pytest

from helpers.project import ROOT

SCRIPTS = ROOT / "workflow_scripts"
# They load a network, or the weights of one.
TORCH = {
    "train_classifier", "train_segmentation", "infer_cam", "predict", "classifier_quality",
    "preflight", "fetch_checkpoint", "pack_model",
}  # fmt: skip
# Print the first script whose `--help` imports a large package.
HELP = """
import contextlib, io, runpy, sys
large = {"torch", "torchvision", "timm", "numpy", "PIL", "scipy", "onnxruntime",
         "matplotlib", "jinja2", "snakemake", "numba"}
for script in sys.argv[1:]:
    sys.argv = [script, "--help"]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        runpy.run_path(script, run_name="__main__")
    if found := large & set(sys.modules):
        sys.exit(f"{script} imports {found}")
"""
# Print the first script that imports torch when it works.
WORK = """
import ast, importlib, sys
for script in sys.argv[1:]:
    for node in ast.walk(ast.parse(open(script).read())):
        if isinstance(node, ast.ImportFrom):
            importlib.import_module(node.module)
    if "torch" in sys.modules:
        sys.exit(f"{script} imports torch")
"""


def said(program: str, *without: str) -> str:
    """What a program says about the scripts, in a process of its own."""
    scripts = [path for path in SCRIPTS.glob("*/*.py") if path.stem not in without]
    scripts = [str(path) for path in scripts if not (path.parent / "__init__.py").exists()]
    assert len(scripts) + len(without) > 25
    done = subprocess.run(
        [sys.executable, "-c", program, *scripts],
        env={**os.environ, "PYTHONPATH": str(SCRIPTS)},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    return done.stderr


def test_help_and_a_finished_stage_import_no_large_package():
    assert said(HELP) == ""


def test_only_stages_with_a_network_import_torch():
    assert said(WORK, *TORCH) == ""


def test_idle_threads_sleep_unless_the_user_wants_them_to_spin():
    """OpenMP reads it when torch loads: every program imports i2crc before."""
    program = "import os, i2crc; print(os.environ['OMP_WAIT_POLICY'])"
    for own, expected in (({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")):
        others = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**others, **own, "PYTHONPATH": str(SCRIPTS)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == expected


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_a_user_without_a_home_folder():
    """As in a container that runs with a user id of its own."""
    code = "import importlib, os, pathlib, platform, pwd, typing; os.setuid(54321); import i2crc"
    others = {k: v for k, v in os.environ.items() if k not in ("HOME", "XDG_CACHE_HOME")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**others, "PYTHONPATH": str(SCRIPTS)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
