"""The conda environment and requirements.txt pin the same packages."""

from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def test_conda_pins_are_those_of_requirements():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    environment = yaml.safe_load((ROOT / "envs" / "i2crc.yaml").read_text())
    (pip,) = (entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    assert sorted(pip) == sorted(pins)


def test_every_pin_is_exact():
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        assert not line or line.startswith("#") or line.count("==") == 1


def dockerfile() -> list[str]:
    """The instructions of the container recipe, one a line."""
    text = (ROOT / "envs" / "Dockerfile").read_text().replace("\\\n", "")
    return [" ".join(line.split()) for line in text.splitlines() if line and line[0] != "#"]


def test_the_container_installs_requirements_and_has_no_versions_of_its_own():
    lines = dockerfile()
    environment = yaml.safe_load((ROOT / "envs" / "i2crc.yaml").read_text())
    (python,) = (entry for entry in environment["dependencies"] if "python=" in entry)
    assert lines[0].startswith(f"FROM {python.replace('=', ':')}-")
    assert "COPY requirements.txt ." in lines
    installs = [line for line in lines if "pip" in line]
    assert installs == ["RUN pip install --no-cache-dir --requirement requirements.txt"]
    assert not [line for line in lines[1:] if "=" in line and not line.startswith("ENV HOME=")]


def test_the_container_runs_as_no_root():
    users = [line.removeprefix("USER ") for line in dockerfile() if line.startswith("USER ")]
    assert users and users[-1] not in ("root", "0")
