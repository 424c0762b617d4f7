"""Every module of the library -> the scripts that an edit of it makes stale, no more and no fewer.

What a script loads is observed: it is imported for real, in a process of its own.
"""

import ast
import json
import shutil
import subprocess
import sys

import pytest

from i2crc import code

SCRIPTS = sorted(code.LIBRARY.parent.glob("*.py"))
MODULES = sorted(path.stem for path in code.LIBRARY.glob("*.py"))
# What a function imports when it is called.
LATER = {"explain": {"weights", "preprocessing"}}
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
# Import each script in a fork, what changes no result replaced by a dummy; print what it loaded.
OBSERVE = """
import importlib, importlib.util, json, multiprocessing, sys, types
from unittest.mock import MagicMock

class Dummy(types.ModuleType):
    def __getattr__(self, name):
        return MagicMock()

def loaded(path):
    for name in neutral:
        sys.modules[f"i2crc.{name}"] = Dummy(f"i2crc.{name}")
    spec = importlib.util.spec_from_file_location("script", path)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    return [name.removeprefix("i2crc.") for name in sys.modules if name.startswith("i2crc.")]

if __name__ == "__main__":
    folder, neutral, paths = json.loads(sys.argv[1])
    sys.path.insert(0, folder)
    for name in ("torch", "timm", "torchvision", "matplotlib.figure", "torch.utils.tensorboard"):
        importlib.import_module(name)
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        print(json.dumps(pool.map(loaded, paths, chunksize=1)))
"""


@pytest.fixture(scope="module")
def loads() -> dict[str, set[str]]:
    """Script -> the modules of the library that it loads, but those that change no result."""
    task = [str(code.LIBRARY.parent), sorted(code.NEUTRAL), [str(path) for path in SCRIPTS]]
    done = subprocess.run(
        [sys.executable, "-c", OBSERVE, json.dumps(task)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    pairs = zip(SCRIPTS, json.loads(done.stdout), strict=True)
    return {p.stem: {*names, *LATER.get(p.stem, ())} - code.NEUTRAL for p, names in pairs}


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A copy of the library that may be edited."""
    monkeypatch.setattr(code, "LIBRARY", shutil.copytree(code.LIBRARY, tmp_path / "i2crc"))
    return code.LIBRARY


def digests() -> dict[str, str]:
    return {path.stem: code.code_digest(path) for path in SCRIPTS}


@pytest.mark.parametrize("module", MODULES)
def test_what_a_module_does_when_loaded_counts_for_the_scripts_that_load_it(loads, library, module):
    before = digests()
    file = library / f"{module}.py"
    file.write_text(f"{file.read_text()}\n\nprint('loaded')\n")
    after = digests()
    stale = {script for script in before if before[script] != after[script]}
    counts = module == "__init__" or module not in code.NEUTRAL
    expected = {s for s, modules in loads.items() if module == "__init__" or module in modules}
    assert stale == (expected if counts else set())


def remarked(text: str) -> str:
    """The same code in another format, without comments, and with other docstrings."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node) is not None:
            node.body[0] = ast.Expr(ast.Constant("Something else."))
    return f"# A remark.\n{ast.unparse(ast.fix_missing_locations(tree))}\n# The end.\n"


def test_a_remark_in_any_module_or_script_changes_nothing(library, tmp_path):
    before = digests()
    for file in library.glob("*.py"):
        file.write_text(remarked(file.read_text()))
    assert digests() == before
    for script in SCRIPTS:
        copy = tmp_path / script.name
        copy.write_text(remarked(script.read_text()))
        assert code.code_digest(copy) == before[script.stem]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_another_line_in_a_script_counts(tmp_path, script):
    copy = tmp_path / script.name
    copy.write_text(f"{script.read_text()}\nprint('done')\n")
    assert code.code_digest(copy) != code.code_digest(script)
