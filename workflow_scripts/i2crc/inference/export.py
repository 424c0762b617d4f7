"""Write a network in formats that other programs run: ONNX, and programs of torch.export.

Both have the input `photos`, (N, H, W, 3) uint8 RGB as image files are decoded, and the outputs
`labels`, (N, H, W) uint8, and `logits`, (N, K+1, H, W) float32. So preprocessing and enlarging are
part of the file, and nobody has to repeat them. N, H and W are free.
"""

import copy
import importlib.util
import io
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from i2crc.data.transforms import Preprocessing
from i2crc.inference.logits import rounded_logits
from i2crc.inference.model_file import read_model
from i2crc.inference.prediction import network_label, predict_batch
from i2crc.models.deeplab import MultiScale
from i2crc.runtime.atomic import write_bytes
from i2crc.runtime.errors import FileError, InputError, explain

INPUT, OUTPUTS = "photos", ("labels", "logits")
# Photographs, height and width of the pictures that an exported network is compared on.
SIZES = ((1, 97, 128), (2, 225, 301), (1, 240, 161))
EQUAL = 0.9999  # least share of the pixels whose label must be that of the network
OPSET = 18
# What the metadata of both formats say, beside the facts of the model.
USE = {
    "input": "photos: (N, H, W, 3) uint8, RGB 0..255, upright; several have the same size",
    "output": "labels: (N, H, W) uint8, 0 = background, n = classes[n - 1]; logits: (N, K + 1, H, "
    "W) float32, whose softmax over axis 1 are the probabilities",
}

Run = Callable[[np.ndarray], np.ndarray]


class PhotoNetwork(nn.Module):
    """A network with its preprocessing and the enlarging of its logits."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, network: MultiScale, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.network = network
        self.is_bgr, self.scale = preprocessing.order == "bgr", preprocessing.scale
        self.register_buffer("mean", torch.tensor(preprocessing.mean)[:, None, None])
        self.register_buffer("std", torch.tensor(preprocessing.std)[:, None, None])

    def forward(self, photos: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the (N, H, W) uint8 labels and (N, K+1, H, W) logits of (N, H, W, 3) uint8."""
        images = photos.permute(0, 3, 1, 2).float()
        if self.is_bgr:
            images = images.flip(1)
        images = (images / self.scale - self.mean) / self.std
        logits = self.network(images).half().float()  # as the stage predict stores them
        logits = F.interpolate(logits, size=images.shape[2:], mode="bilinear", align_corners=False)
        return logits.argmax(dim=1).to(torch.uint8), logits


class AnySizeMaxPool(nn.Module):
    """The same as nn.MaxPool2d, but torch.export finds no condition on the size in it.

    Of a pool with a stride, torch 2.12 records whether the size is a multiple of the stride, and
    the program then refuses all sizes of the other kind. So the stride is an indexing here.
    """

    def __init__(self, pool: nn.MaxPool2d) -> None:
        super().__init__()
        self.strides = pool.stride if isinstance(pool.stride, tuple) else (pool.stride,) * 2
        self.pool = nn.MaxPool2d(pool.kernel_size, 1, pool.padding, pool.dilation)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return the maxima of (N, C, H, W) values."""
        values = self.pool(values)
        for dim, stride in zip((2, 3), self.strides, strict=True):
            kept = torch.arange(0, values.shape[dim], stride, device=values.device)
            values = values.index_select(dim, kept)
        return values


def export_network(model_file: Path, kind: str, output: Path) -> str:
    """Write the network of a model file as "onnx" or "torch"; return how equal it is, as a text.

    Raise InputError if the model file cannot be used, if its network cannot be written in this
    format, or if more than 1 of 10 000 pixels get another label.
    """
    if kind == "onnx" and (missing := [p for p in PACKAGES if not importlib.util.find_spec(p)]):
        raise InputError(
            f"--format onnx needs the package {missing[0]}, which is not installed; run "
            f"`pip install {' '.join(missing)}`, or use --format torch"
        )
    network, card = read_model(model_file, torch.device("cpu"))
    pack, load = FORMATS[kind]
    pictures = [_clouds(*size) for size in SIZES]
    wanted = [_labels(network, picture, card.preprocessing) for picture in pictures]
    licences = {"license": "unknown", "licence of the photographs": "unknown"}
    if card.facts:
        licences["licence of the backbone's initial weights"] = card.facts.backbone.licence
    facts = {
        **USE,
        **licences,
        "classes": json.dumps(card.classes, ensure_ascii=False),
        "colors": json.dumps(card.colors),
        "max_side": f"{card.max_side}: resize photographs with a longer side to it first (0: none)",
        "i2crc": json.dumps(card.model_dump()),  # of names that are no text, too
    }
    program = _program(network, card.preprocessing, kind, model_file)
    try:
        run = load(pack(program, facts))
        found = [run(picture) for picture in pictures]
    except Exception as error:  # of torch and onnxruntime, of many types
        if explain(error):  # memory or disk ran out
            raise
        raise _refused(model_file, kind, error) from error
    equality = _compare(model_file, kind, found, wanted)
    write_bytes(output, pack(program, {**facts, "equality": equality}))
    return equality


def _program(network: MultiScale, preprocessing: Preprocessing, kind: str, model_file: Path) -> Any:
    """Return the torch.export program of a network, for any number and size of photographs."""
    module = PhotoNetwork(copy.deepcopy(network), preprocessing).eval()
    module.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    if kind == "torch":
        _replace_pools(module)
    free = torch.export.Dim.DYNAMIC
    example = torch.zeros(2, 96, 128, 3, dtype=torch.uint8)
    shapes = {INPUT: {0: free, 1: free, 2: free}}
    try:
        with torch.no_grad():
            program = torch.export.export(module, (example,), dynamic_shapes=shapes)
            if kind == "torch":
                for node in program.graph.nodes:
                    node.meta.pop("stack_trace", None)  # it has the paths of this machine
                return program
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the exporter calls what torch deprecates
                exported = torch.onnx.export(
                    program,
                    input_names=[INPUT],
                    output_names=OUTPUTS,
                    dynamic_shapes={INPUT: {0: "N", 1: "H", 2: "W"}},
                    opset_version=OPSET,
                    dynamo=True,
                    verbose=False,
                )
    except Exception as error:  # torch raises errors of many types
        if explain(error):  # memory or disk ran out
            raise
        raise _refused(model_file, kind, error) from error
    assert exported is not None  # it is None only if a file is written at once
    for node in exported.model.graph.all_nodes():
        node.metadata_props.clear()  # paths of this machine
    return exported


def _replace_pools(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.MaxPool2d) and not child.ceil_mode:
            setattr(module, name, AnySizeMaxPool(child))
        else:
            _replace_pools(child)


def _refused(model_file: Path, kind: str, error: Exception) -> FileError:
    other = "torch" if kind == "onnx" else "onnx"
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    problem = f"its network cannot be written as {kind} ({reason[:300]})"
    return FileError(model_file, problem, f"try --format {other}, or use the model file itself")


def _pack_onnx(exported: Any, facts: dict[str, str]) -> bytes:
    exported.model.metadata_props.update(facts)
    return exported.model_proto.SerializeToString()


def _pack_torch(program: Any, facts: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files=facts)
    return buffer.getvalue()


def _load_onnx(content: bytes) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return lambda photos: session.run(["labels"], {INPUT: photos})[0]


def _load_torch(content: bytes) -> Run:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch reads the weights from a buffer it cannot write to
        module = torch.export.load(io.BytesIO(content)).module()
    return lambda photos: module(torch.from_numpy(photos))[0].numpy()


PACKAGES = ("onnx", "onnxscript")
# Format -> how a program becomes the bytes of a file, with facts; how it runs from these bytes.
FORMATS: dict[str, tuple[Callable[[Any, dict[str, str]], bytes], Callable[[bytes], Run]]] = {
    "onnx": (_pack_onnx, _load_onnx),
    "torch": (_pack_torch, _load_torch),
}


def _clouds(count: int, height: int, width: int) -> np.ndarray:
    """Return drawn pictures of coloured clouds, (N, H, W, 3) uint8."""
    seeds = np.random.default_rng(height).integers(0, 256, (count, 8, 9, 3), dtype=np.uint8)
    size, smooth = (width, height), Image.Resampling.BICUBIC
    return np.stack([np.asarray(Image.fromarray(one).resize(size, smooth)) for one in seeds])


def _labels(network: MultiScale, photos: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Return the (N, H, W) uint8 labels that the stage predict would write."""
    logits = rounded_logits(predict_batch(network, list(photos), preprocessing))
    return np.stack([network_label(one, photos.shape[1:3])[0] for one in logits])


def _compare(model_file: Path, kind: str, found: list[np.ndarray], wanted: list[np.ndarray]) -> str:
    """Return how many pixels have the label of the network; raise FileError if too few have."""
    equal = [int((f == w).sum()) for f, w in zip(found, wanted, strict=True)]
    pixels = sum(label.size for label in wanted)
    sizes = ", ".join(f"{width}x{height}" for _, height, width in SIZES)
    share = sum(equal) / pixels
    if share < EQUAL:
        problem = f"only {share:.2%} of the pixels get the label of the network ({sizes} pixels)"
        raise _refused(model_file, kind, ValueError(problem))
    return f"{sum(equal)} of {pixels} pixels have the label of the network ({sizes} pixels)"
