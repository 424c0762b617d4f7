"""Predicting with a trained segmentation network (METHOD 23)."""

from pathlib import Path

import numpy as np
import torch

from i2crc.config.schema import Classifier, Segmentation
from i2crc.data.transforms import Preprocessing
from i2crc.models.cam_classifier import CamNet, build_classifier
from i2crc.models.checkpoints import load_weights, metadata_preprocessing, read_state
from i2crc.models.deeplab import MultiScale, build_segmentation
from i2crc.models.weight_files import read_metadata
from i2crc.runtime.errors import FileError

# One value for each class and the background.
HEAD_BIAS = "base.classifier.conv2d_list.0.bias"


def load_segmentation(path: Path, device: torch.device) -> tuple[MultiScale, Preprocessing]:
    """The network of a weight file, ready for inference, and its preprocessing."""
    metadata = read_metadata(path)
    settings = Segmentation.model_validate(metadata["settings"])
    model = build_segmentation(settings, len(metadata["classes"]))
    load_weights(path, model)
    model = model.to(device, memory_format=torch.channels_last).eval()
    return model, metadata_preprocessing(metadata)


def load_published(path: Path, settings: Segmentation, classes: int) -> MultiScale:
    """The network of `settings` for `classes` foreground classes, with the weights of a file."""
    head = read_state(path)[0].get(HEAD_BIAS)
    if head is not None and len(head) != classes + 1:
        raise FileError(
            path,
            f"its network tells {len(head) - 1} classes apart, the data set has {classes}",
            "give the checkpoint of this data set, or correct the classes of the data set",
        )
    model = build_segmentation(settings, classes)
    load_weights(path, model)
    return model


@torch.inference_mode()
def predict_logits(
    model: MultiScale, photo: np.ndarray, preprocessing: Preprocessing
) -> np.ndarray:
    """(H, W, 3) uint8 photograph to (K+1, h, w) float32 logits at the network's stride."""
    image = preprocessing(photo)[None].to(next(model.parameters()).device)
    return model(image)[0].float().cpu().numpy()


def load_classifier(path: Path, device: torch.device) -> tuple[CamNet, Classifier, Preprocessing]:
    """The network of a weight file, ready for inference, with its settings and preprocessing."""
    metadata = read_metadata(path)
    settings = Classifier.model_validate(metadata["settings"])
    model = build_classifier(settings, len(metadata["classes"]))
    load_weights(path, model)
    model = model.to(device, memory_format=torch.channels_last).eval()
    return model, settings, metadata_preprocessing(metadata)
