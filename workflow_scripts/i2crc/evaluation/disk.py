"""How much disk the artifacts of a run take, planned from the index before anything is made."""

import math
from collections.abc import Sequence
from pathlib import Path

from i2crc.data.index import Entry

# Bytes a pixel of a PNG. The saliency maps of 472 photographs of VOC 2012 have 0.10 in the mean and
# 0.32 at most, an attention map of noise at stride 8 has 0.41; their masks 0.02 and 0.05.
GREY_PNG = 0.4
LABEL_PNG = 0.05
# What each file takes beside its pixels: its palette, and the rest of its last block.
FILE = 4096
LOGIT_BYTES = 2  # float16; deflating saves less than a fifth more
PARAMETER_BYTES = 4  # float32
# A training keeps a checkpoint and writes the next one before it replaces that.
CHECKPOINTS = 2
# In a checkpoint, beside the weights: SGD has a momentum, AdamW two moments of each.
STATES = {"sgd": 1, "adamw": 2}
# Folders of an experiment that hold what is planned here.
FOLDERS = ("saliency/maps", "cams", "labels", "predictions", "crf", "classifier", "segmentation")


def training_image_bytes(entry: Entry, labels: int, stride: int) -> float:
    """What the stages make of one training image: saliency, attention of each of its classes,
    labels of both rounds, prediction, CRF, logits of `labels` channels.
    """
    pixels = entry.width * entry.height
    maps = (1 + len(entry.classes or [])) * (pixels * GREY_PNG + FILE)
    return maps + 2 * (pixels * LABEL_PNG + FILE) + predicted_bytes(entry, labels, stride)


def predicted_bytes(entry: Entry, labels: int, stride: int) -> float:
    """The prediction of one image, before and after the CRF, and its logits at `stride`."""
    logits = labels * math.ceil(entry.width / stride) * math.ceil(entry.height / stride)
    images = 2 * (entry.width * entry.height * LABEL_PNG + FILE)
    return images + logits * LOGIT_BYTES + FILE


def training_bytes(parameters: int, optimizer: str) -> int:
    """The weight file of a training of so many parameters, and its checkpoints."""
    return PARAMETER_BYTES * parameters * (1 + CHECKPOINTS * (1 + STATES[optimizer]))


def bytes_there(experiment: Path, folders: Sequence[str] = FOLDERS) -> int:
    """What is there already of what is planned."""
    files = (f for name in folders for f in (experiment / name).rglob("*") if f.is_file())
    return sum(file.stat().st_size for file in files)
