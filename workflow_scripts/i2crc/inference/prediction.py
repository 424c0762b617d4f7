"""Load trained networks, and predict with a segmentation network (METHOD 23)."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from i2crc.config.schema import Classifier, Segmentation
from i2crc.data.transforms import Preprocessing
from i2crc.models.cam_classifier import CamNet, build_classifier
from i2crc.models.deeplab import MultiScale, build_segmentation
from i2crc.models.upsampling import upsample
from i2crc.models.weight_files import load_weights, read_metadata, read_state
from i2crc.runtime.errors import FileError

# The head's bias has one value for each class and one for the background.
HEAD_BIAS = "base.classifier.conv2d_list.0.bias"


def load_classifier(path: Path, device: torch.device) -> tuple[CamNet, Classifier, Preprocessing]:
    """Return the classifier of a weight file, ready to predict, its settings and preprocessing."""
    metadata = read_metadata(path)
    settings = Classifier.model_validate(metadata["settings"])
    model = build_classifier(settings, len(metadata["classes"]))
    _load(path, model, device)
    return model, settings, Preprocessing(**metadata["preprocessing"])


def load_segmentation(path: Path, device: torch.device) -> tuple[MultiScale, Preprocessing]:
    """Return the segmentation network of a weight file, ready to predict, and its preprocessing."""
    metadata = read_metadata(path)
    settings = Segmentation.model_validate(metadata["settings"])
    model = build_segmentation(settings, len(metadata["classes"]))
    _load(path, model, device)
    return model, Preprocessing(**metadata["preprocessing"])


def _load(path: Path, model: nn.Module, device: torch.device) -> None:
    """Load the weights of a network, and move it to a device, in evaluation mode."""
    load_weights(path, model)
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.eval()


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


@torch.inference_mode()
def predict_logits(
    model: MultiScale, photo: np.ndarray, preprocessing: Preprocessing
) -> np.ndarray:
    """Return the (K+1, h, w) float32 logits, at the network's stride, of a photograph.

    `photo` is (H, W, 3) uint8 RGB; `preprocessing` is what the network was trained with.
    """
    image = preprocessing(photo)[None].to(next(model.parameters()).device)
    return model(image)[0].float().cpu().numpy()


def predict_label(model: MultiScale, photo: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Return the (H, W) uint8 label of a photograph, as the stage predict writes it.

    That is the label of logits in half precision, as they are stored for the CRF.
    """
    logits = predict_logits(model, photo, preprocessing).astype(np.float16)
    return upsample(logits, photo.shape[:2]).argmax(axis=0).astype(np.uint8)
