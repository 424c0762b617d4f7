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
