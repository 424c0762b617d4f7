"""Load trained networks, and predict with a segmentation network (METHOD 23)."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from i2crc.config.schema import Classifier, Segmentation, Training
from i2crc.data.transforms import Preprocessing
from i2crc.labels.strongest import strongest
from i2crc.models.cam_classifier import CamNet, build_classifier
from i2crc.models.deeplab import MultiScale, build_segmentation
from i2crc.models.folding import fold_batch_norms
from i2crc.models.mirrored import both_ways
from i2crc.models.upsampling import upsample
from i2crc.models.weight_files import load_weights, read_metadata, read_state
from i2crc.runtime.errors import FileError

# The head's bias has one value for each class and one for the background.
HEAD_BIAS = "base.classifier.conv2d_list.0.bias"
SIDE = 64  # in pixels, of a picture that each segmentation network can take
# Photographs that a network takes at a time. On a CPU, one thread for each is as fast.
TOGETHER = {"cpu": 1, "cuda": 8}
SMALLEST = 1e-7  # of the averaged probabilities, whose logarithms must be finite


def load_classifier(path: Path, device: torch.device) -> tuple[CamNet, Classifier, Preprocessing]:
    """Return the classifier of a weight file, ready to predict, its settings and preprocessing."""
    metadata = read_metadata(path)
    settings = Classifier.model_validate(metadata["settings"])
    model = build_classifier(settings, len(metadata["classes"]))
    _load(path, model, settings, settings.input_size, device)
    return model, settings, Preprocessing(**metadata["preprocessing"])


def load_segmentation(path: Path, device: torch.device) -> tuple[MultiScale, Preprocessing]:
    """Return the segmentation network of a weight file, ready to predict, and its preprocessing."""
    metadata = read_metadata(path)
    settings = Segmentation.model_validate(metadata["settings"])
    model = build_segmentation(settings, len(metadata["classes"]))
    _load(path, model, settings, SIDE, device)
    return model, Preprocessing(**metadata["preprocessing"])


def predicts_in_half(setting: str, device: torch.device) -> bool:
    """Return whether a network predicts in float16, by the setting `precision` of its training.

    On a GPU it does: float16 rounds more finely than bfloat16. After fp32 and tf32, and with
    deterministic algorithms, it predicts in float32.
    """
    exact = setting in ("fp32", "tf32") or torch.are_deterministic_algorithms_enabled()
    return device.type == "cuda" and not exact


def precision_of(model: CamNet | MultiScale) -> str:
    """Return the name of the type that a loaded network predicts in."""
    return "fp16" if model.in_half else "fp32"


def _load(
    path: Path, model: CamNet | MultiScale, settings: Training, side: int, device: torch.device
) -> None:
    """Load the weights of a network, and move it to a device, ready to predict.

    `side` is the height and width of pictures that the network can take.
    """
    load_weights(path, model)
    model.eval().requires_grad_(True)  # folding looks at the gradients of all parameters
    fold_batch_norms(model, side)
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.in_half = predicts_in_half(settings.precision, device)


def load_published(path: Path, settings: Segmentation, classes: int) -> MultiScale:
    """Return the network of `settings` for `classes` foreground classes, with weights of a file.

    Raise InputError if the weights are of another network or another number of classes.
    """
    head = read_state(path)[0].get(HEAD_BIAS)
    if head is not None and len(head) != classes + 1:
        raise FileError(
            path,
            f"its network has {len(head) - 1} classes, the data set has {classes}",
            "give the checkpoint of this data set, or correct the classes of the data set",
        )
    model = build_segmentation(settings, classes)
    load_weights(path, model)
    return model


def predict_logits(model: nn.Module, photo: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Return the (K+1, h, w) float32 logits, at the network's stride, of a photograph.

    `photo` is (H, W, 3) uint8 RGB; `preprocessing` is what the network was trained with.
    """
    return predict_batch(model, [photo], preprocessing)[0]


def predict_batch(
    model: nn.Module,
    photos: Sequence[np.ndarray],
    preprocessing: Preprocessing,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
) -> np.ndarray:
    """Return the (N, K+1, h, w) float32 logits of N photographs of the same size.

    With several `scales` or with `flip`, these are the logarithms of the probabilities, averaged
    over the scales and mirrored photographs, at the stride of the largest scale.
    """
    return compute_logits(model, [preprocessing(photo) for photo in photos], scales, flip)


@torch.inference_mode()
def compute_logits(
    model: nn.Module,
    inputs: Sequence[torch.Tensor],
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
) -> np.ndarray:
    """Return what `predict_batch` does, of preprocessed photographs."""
    images = torch.stack([*inputs]).to(next(model.parameters()).device)
    outputs = []
    for scale in scales:
        outputs += both_ways(model, _resized(images, scale), flip)
    if len(outputs) == 1:
        return outputs[0].cpu().numpy()
    largest = max((output.shape[2:] for output in outputs), key=math.prod)
    probabilities = [
        F.interpolate(output, size=largest, mode="bilinear", align_corners=False).softmax(1)
        for output in outputs
    ]
    return torch.stack(probabilities).mean(0).clamp(min=SMALLEST).log().cpu().numpy()


@contextmanager
def full_precision() -> Iterator[None]:
    """Compute float32 convolutions on a GPU as the stages do, and not in TF32."""
    convolutions = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    before = convolutions.fp32_precision
    convolutions.fp32_precision = "ieee"
    try:
        yield
    finally:
        convolutions.fp32_precision = before


def _resized(images: torch.Tensor, scale: float) -> torch.Tensor:
    """Return (N, 3, H, W) images at a multiple of their size."""
    if scale == 1:
        return images
    size = [max(1, round(side * scale)) for side in images.shape[2:]]
    return F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)


def network_label(logits: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the uint8 label and its probability, both of `size` (H, W), of (K+1, h, w) logits."""
    scores = upsample(logits, size)
    label = strongest(scores)
    scores -= scores.max(axis=0)
    return label, 1 / np.exp(scores, out=scores).sum(axis=0)
