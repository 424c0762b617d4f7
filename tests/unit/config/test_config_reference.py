"""The generated reference and schema: current, complete, and true of the files in config/."""

import re
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import jsonschema
import pytest
import yaml

import config_reference
from helpers.settings import read_config
from i2crc.config.schema import Config, Section
from i2crc.runtime.atomic import read_json
from i2crc.runtime.errors import InputError

ROOT = Path(__file__).parents[3]
SCHEMA = ROOT / "config" / "schema.json"
FILES = sorted((ROOT / "config").glob("*.yaml"))


def keys(section: Section, prefix: str = "") -> list[str]:
    """The dotted names of all settings."""
    found = []
    for key, value in section:
        name = prefix + key
        found += keys(value, f"{name}.") if isinstance(value, Section) else [name]
    return found


def test_files_are_current():
    command = [sys.executable, ROOT / "workflow_scripts" / "config_reference.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_key_has_one_row():
    reference = (ROOT / "docs" / "CONFIG.md").read_text()
    rows = re.findall(r"^\| `([^`]+)` \|", reference, re.MULTILINE)
    assert sorted(rows) == sorted(keys(Config()))


@pytest.mark.parametrize("name", ["REFERENCE", "SCHEMA"])
def test_check_names_the_outdated_file_and_the_introduction_is_kept(name, tmp_path, monkeypatch):
    files = {"REFERENCE": tmp_path / "CONFIG.md", "SCHEMA": tmp_path / "schema.json"}
    for constant, file in files.items():
        monkeypatch.setattr(config_reference, constant, file)
        file.write_text("# Introduction\n\n")
    config_reference.main(Namespace(check=False))
    config_reference.main(Namespace(check=True))
    assert files["REFERENCE"].read_text().startswith("# Introduction\n\n## General\n")
    files[name].write_text("older")
    with pytest.raises(InputError, match=rf"{files[name].name}: out of date; run: python "):
        config_reference.main(Namespace(check=True))
    assert files[name].read_text() == "older"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_configuration_is_valid(file):
    read_config(file)
    jsonschema.validate(yaml.safe_load(file.read_text()), read_json(SCHEMA))


def test_schema_refuses_what_is_not_described():
    for values in ({"sead": 1}, {"classifier": {"epoch": 1}}, {"classifier": {"epochs": 0}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(values, read_json(SCHEMA))
