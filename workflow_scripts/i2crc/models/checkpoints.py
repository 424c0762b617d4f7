"""Read and write weight files.

No code in a file is run: `.pth` files are loaded with `weights_only=True`, others are safetensors.
"""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from i2crc.data.transforms import Preprocessing, preprocessing_from
from i2crc.models.weight_files import UNREADABLE, metadata_of
from i2crc.runtime.atomic import atomic_path
from i2crc.runtime.errors import InputError

State = Mapping[str, torch.Tensor]
# The command that converts a file that runs code when it is loaded.
CONVERT = (
    'python -c "import sys, torch; from safetensors.torch import save_file; '
    "c = torch.load(sys.argv[1], map_location='cpu', weights_only=False); "
    "save_file({k: v.clone() for k, v in c.get('state_dict', c).items()}, sys.argv[2])\" "
    "FILE.pth FILE.safetensors"
)


def read_state(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return the tensors of a weight file and its metadata (empty for `.pth`).

    Raise InputError for a file that is damaged, is compressed, or would run code.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such weight file")
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}, metadata_of(file)  # noqa: SIM118
        _refuse_compressed(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(
            f"{path}: refused: not a plain file of tensors ({reason}). If you trust it, convert it "
            f"once, which runs the code in it, and give the new file:\n{CONVERT}"
        ) from error
    state = state.get("state_dict", state) if isinstance(state, dict) else None
    if not _is_state(state):
        raise InputError(f"{path}: expected a dictionary of tensors (a state dict)")
    # DataParallel and DistributedDataParallel add this prefix.
    return {name.removeprefix("module."): value for name, value in state.items()}, {}


def save_weights(path: Path, model: nn.Module, metadata: dict[str, Any]) -> None:
    """Write a model as safetensors with JSON `metadata`, by atomic rename."""
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    with atomic_path(path) as temporary:
        save_file(state, temporary, {"i2crc": json.dumps(metadata, sort_keys=True)})


def load_weights(path: Path, model: nn.Module) -> dict[str, Any]:
    """Load a weight file into `model` and return its metadata; every tensor must fit."""
    state, metadata = read_state(path)
    fill(model, state, f"{path}: does not fit the configured network")
    return metadata


def metadata_preprocessing(metadata: dict[str, Any]) -> Preprocessing:
    """Return the preprocessing that a checkpoint's metadata declares."""
    return preprocessing_from(metadata["preprocessing"])


def fill(network: nn.Module, state: State, problem: str) -> None:
    """Load `state` into a network.

    Raise InputError, whose message begins with `problem`, for tensors that do not fit, are
    quantised, or hold NaN or infinity.
    """
    wanted = network.state_dict()
    for name, tensor in state.items():
        # Integers of quantised weights would be loaded as if they were the weights.
        if name in wanted and tensor.is_floating_point() != wanted[name].is_floating_point():
            raise InputError(
                f"{problem}: tensor {name} is {tensor.dtype}, expected {wanted[name].dtype}; "
                "export the weights in 32 bits"
            )
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(f"{problem}: {error}") from error
    for name, tensor in network.state_dict().items():
        if not torch.isfinite(tensor).all():
            raise InputError(
                f"{problem}: tensor {name} holds NaN or infinity; the training that made it went "
                "wrong, or the file is damaged"
            )


def _refuse_compressed(path: Path) -> None:
    """Raise ValueError for a compressed zip: torch never writes one, so it may be a bomb."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as packed:
            if any(member.compress_type != zipfile.ZIP_STORED for member in packed.infolist()):
                raise ValueError("its content is compressed")


def _is_state(value: Any) -> TypeGuard[State]:
    """Return whether a value is a state dict."""
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(n, str) and isinstance(v, torch.Tensor) for n, v in value.items())
    )
