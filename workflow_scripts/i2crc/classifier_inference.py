"""A trained classifier for inference."""

from pathlib import Path

import torch

from i2crc.classifier_net import CamNet, build_classifier
from i2crc.config import Classifier
from i2crc.preprocessing import Preprocessing
from i2crc.weights import load_weights, metadata_preprocessing, read_metadata


def load_classifier(path: Path, device: torch.device) -> tuple[CamNet, Classifier, Preprocessing]:
    """The network of a weight file, ready for inference, with its settings and preprocessing."""
    metadata = read_metadata(path)
    settings = Classifier.model_validate(metadata["settings"])
    model = build_classifier(settings, len(metadata["classes"]))
    load_weights(path, model)
    model = model.to(device, memory_format=torch.channels_last).eval()
    return model, settings, metadata_preprocessing(metadata)
