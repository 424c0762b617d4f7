"""The metadata and the digest of weight files, read without torch.

Weight files of this project are safetensors with JSON metadata.
"""

import importlib.util
import json
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from i2crc.config.schema import Weights
from i2crc.runtime.atomic import digest_file
from i2crc.runtime.errors import InputError

# Errors that torch and safetensors raise on damaged or hostile files.
UNREADABLE = (
    pickle.UnpicklingError,
    SafetensorError,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    AssertionError,
    OverflowError,
    MemoryError,
    struct.error,
    zipfile.BadZipFile,
)
WEIGHT_FILES = (".safetensors", ".pth", ".pt")


def file_metadata(path: Path) -> dict[str, Any]:
    """Return the metadata of a weight file; empty for a file that this project did not write."""
    if not path.is_file():
        raise InputError(f"{path}: no such weight file")
    if path.suffix != ".safetensors":
        return {}
    try:
        with safe_open(path, "numpy") as file:
            return metadata_of(file)
    except UNREADABLE as error:
        raise InputError(f"{path}: not a safetensors file ({error}); replace it") from error


def read_metadata(path: Path) -> dict[str, Any]:
    """Return the metadata of a weight file; raise InputError if this project did not write it."""
    metadata = file_metadata(path)
    if not metadata:
        raise InputError(f"{path}: no weight file of this project; train it, or convert it first")
    return metadata


def metadata_of(file: safe_open) -> dict[str, Any]:
    """Return the metadata in a safetensors file; raise ValueError if it is not of this project."""
    metadata = json.loads((file.metadata() or {}).get("i2crc", "{}"))
    if not isinstance(metadata, dict) or not isinstance(metadata.get("masks_seen", []), list):
        raise ValueError("its metadata is not of this project")
    return metadata


def masks_seen(weights: Weights) -> list[str]:
    """Return the names of the data sets whose masks pretrained weights are known to have seen.

    They are declared in the settings, or recorded in a weight file of this project.
    """
    recorded = file_metadata(Path(weights.name)) if weights.source == "file" else {}
    return sorted({*weights.masks_seen, *recorded.get("masks_seen", [])})


def weights_digest(weights: Weights) -> str:
    """Return the SHA-256 of the weight file that settings name; "" if they name no local file."""
    if weights.source == "file":
        path = Path(weights.name)
        return digest_file(path) if path.is_file() else ""
    return digest_file(package_file(weights.name)) if weights.source == "package" else ""


def package_file(name: str) -> Path:
    """Return the one weight file in an installed package; raise InputError if there is none."""
    # Find the package without importing it: its own code is not needed.
    spec = importlib.util.find_spec(name.replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"package {name!r} is not installed: pip install {name}")
    folder = Path(spec.submodule_search_locations[0])
    files = sorted(path for path in folder.rglob("*") if path.suffix in WEIGHT_FILES)
    if len(files) != 1:
        raise InputError(f"package {name!r} holds {len(files)} weight files, expected one")
    return files[0]
