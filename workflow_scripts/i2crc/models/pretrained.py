"""Pretrained weights: load them from their source, and insert them into a network."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
from torch import nn

from i2crc.config.schema import Weights
from i2crc.data.transforms import (
    IMAGENET,
    LITE,
    Preprocessing,
    preprocessing_values,
)
from i2crc.models.checkpoints import State, fill, metadata_preprocessing, read_state
from i2crc.models.weight_files import masks_seen, package_file
from i2crc.runtime.atomic import digest_bytes, digest_file
from i2crc.runtime.errors import InputError

PACKAGE_PREPROCESSING = {"efficientnet-lite": LITE}


@dataclass(frozen=True)
class Pretrained:
    """Weights of a backbone, and the facts about them that every checkpoint records."""

    state: State
    source: str
    sha256: str
    preprocessing: Preprocessing
    masks_seen: list[str] = field(default_factory=list)


def load_pretrained(weights: Weights, backbone: str) -> Pretrained:
    """Return the pretrained weights that `weights` describes; for "random", an empty state.

    Raise InputError if they cannot be loaded, or have another SHA-256 than the settings say.
    """
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

    Tensors are matched by name if all names of the extractor are there, else by position. By
    position, order and shapes must be the same; a classifier at the end of the file is left out.
    Raise InputError if they do not match.
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
    fill(features, found, f"{pretrained.source}: not weights of this backbone")


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
        # The extractor calls `features.0.weight` `0.weight`.
        state = {k.removeprefix("features."): v for k, v in state.items()}
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(entry.url).name
    return Pretrained(state, f"torchvision {entry}", digest_file(file), IMAGENET)


def _timm(weights: Weights, backbone: str) -> Pretrained:
    name = f"{backbone}.{weights.name}" if weights.name else backbone
    try:
        model: Any = timm.create_model(name, pretrained=True)
    except (RuntimeError, OSError, ValueError) as error:
        raise InputError(
            f"timm weights {name!r} cannot be fetched ({error}); download them elsewhere and set "
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
    file = package_file(weights.name)
    state, _ = read_state(file)
    known = [p for name, p in PACKAGE_PREPROCESSING.items() if weights.name.startswith(name)]
    source = f"package {weights.name} ({file.name})"
    return Pretrained(state, source, digest_file(file), known[0] if known else IMAGENET)


def provenance(
    pretrained: Pretrained, preprocessing: Preprocessing, classes: list[str]
) -> dict[str, Any]:
    """Return what a checkpoint records of its preprocessing, classes and initial weights."""
    return {
        "weights": {"source": pretrained.source, "sha256": pretrained.sha256},
        "preprocessing": preprocessing_values(preprocessing),
        "classes": classes,
        "masks_seen": pretrained.masks_seen,
    }
