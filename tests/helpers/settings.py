"""Configurations, and what is said of bad values."""

from pathlib import Path

import pytest

from i2crc.config.load import load_config, read_yaml
from i2crc.config.schema import Config
from i2crc.runtime.errors import InputError


def read_config(path: Path) -> Config:
    """Return the configuration in a YAML file."""
    return load_config(read_yaml(path), str(path))


def config_problem(values: dict) -> str:
    """Return the message for values that are refused."""
    with pytest.raises(InputError) as caught:
        load_config(values, "my.yaml")
    return str(caught.value)
