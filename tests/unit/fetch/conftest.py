"""Fixtures of the tests that fetch."""

from pathlib import Path

import pytest

from helpers.s3_server import s3  # noqa: F401
from helpers.server import server  # noqa: F401


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Where a fetched file goes; its folder does not exist yet."""
    return tmp_path / "cache" / "maps.tar"
