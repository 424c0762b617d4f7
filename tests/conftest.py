"""Where the golden vectors are: $GOLDEN_DIR, else shared/golden beside the repository."""

import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def golden() -> Path:
    beside = Path(__file__).resolve().parents[2] / "shared" / "golden"
    folder = Path(os.environ.get("GOLDEN_DIR") or beside)
    if not folder.is_dir():
        pytest.skip(f"no golden vectors: {folder} is no folder; set GOLDEN_DIR to theirs")
    return folder
