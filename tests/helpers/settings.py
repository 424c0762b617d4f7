"""What the configuration says of bad values."""

import pytest

from i2crc.config.load import load_config
from i2crc.runtime.errors import InputError


def config_problem(values: dict) -> str:
    """Return the message for values that are refused."""
    with pytest.raises(InputError) as caught:
        load_config(values, "my.yaml")
    return str(caught.value)
