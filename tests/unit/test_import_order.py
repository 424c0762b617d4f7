"""The library's packages import only those below them, and nothing of the workflow around them."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "workflow_scripts"
LIBRARY = SCRIPTS / "i2crc"
# From the ground up.
PACKAGES = (
    "runtime", "config", "artifacts", "fetch", "data", "models", "labels", "training",
    "inference", "evaluation", "report", "cli",
)  # fmt: skip
MODULES = sorted(LIBRARY.rglob("*.py"))


def imported(file: Path) -> Iterator[str]:
    """The dotted names that a module imports, also inside of functions."""
    package = ".".join(file.relative_to(SCRIPTS).parent.parts)
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            module = ".".join([*above, node.module or ""]) if node.level else node.module or ""
            yield from (f"{module}.{alias.name}" for alias in node.names)


def named(file: Path) -> str:
    return str(file.relative_to(SCRIPTS))


def test_every_module_is_in_a_package_of_the_order():
    packages = {path.name for path in LIBRARY.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert packages == set(PACKAGES)
    assert [path.name for path in LIBRARY.glob("*.py")] == ["__init__.py"]


@pytest.mark.parametrize("file", MODULES, ids=named)
def test_a_package_imports_only_those_before_it(file):
    own = PACKAGES.index(file.parent.name) if file.parent != LIBRARY else 0
    others = [name.split(".") for name in imported(file)]
    packages = [parts[1] for parts in others if parts[0] == "i2crc" and len(parts) > 1]
    assert set(packages) <= set(PACKAGES[: own + 1])


@pytest.mark.parametrize("file", MODULES, ids=named)
def test_no_module_imports_a_script_or_snakemake(file):
    scripts = {path.stem for path in SCRIPTS.rglob("*.py") if LIBRARY not in path.parents}
    folders = {path.name for path in SCRIPTS.iterdir() if path.is_dir() and path != LIBRARY}
    roots = {name.split(".")[0] for name in imported(file)}
    assert not roots & (scripts | folders)
    assert "snakemake" not in roots


def test_a_class_name_stands_for_one_class():
    places = defaultdict(list)
    for file in sorted(SCRIPTS.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(named(file))
    assert not {name: files for name, files in places.items() if len(files) > 1}
