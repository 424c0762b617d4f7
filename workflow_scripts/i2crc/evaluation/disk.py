"""The disk space that the artifacts of a run take, planned from its indexes."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from i2crc.config.schema import Classifier, Segmentation
from i2crc.data.index import Entry, Index

# Bytes per pixel of a PNG. Saliency maps of 472 VOC 2012 photographs take 0.10 on average, 0.32 at
# most; an attention map of noise at stride 8 takes 0.41; masks take 0.02 on average, 0.05 at most.
GREY_PNG = 0.4
LABEL_PNG = 0.05
# Bytes of a file beside its pixels: its palette and the rest of its last block.
FILE = 4096
LOGIT_BYTES = 2  # float16; compression saves less than a fifth more
PARAMETER_BYTES = 4  # float32
# A training writes the next checkpoint before it removes the last one.
CHECKPOINTS = 2
# Optimiser values per weight in a checkpoint: SGD has one momentum, AdamW has two moments.
STATES = {"sgd": 1, "adamw": 2}
# The folders of an experiment that hold what is planned here.
FOLDERS = ("saliency/maps", "cams", "labels", "predictions", "crf", "classifier", "segmentation")


def planned_bytes(
    indexes: Sequence[Index],
    networks: Mapping[str, Classifier | Segmentation],
    parameters: Mapping[str, int],
) -> dict[str, int]:
    """Return the bytes that a run will write, by what takes them.

    `networks` are the settings of the networks, "segmentation" among them; `parameters` are the
    numbers of parameters of those that are trained.
    """
    segmentation = networks["segmentation"]
    assert isinstance(segmentation, Segmentation)
    pseudo = segmentation.supervision == "pseudo" and "classifier" in networks
    planned: dict[str, int] = {}
    for index in indexes:
        labels = len(index.classes) + 1
        each = training_image_bytes if index.split == "train" else predicted_bytes
        if index.split != "train" or pseudo:
            size = sum(each(entry, labels, segmentation.output_stride) for entry in index.images)
            planned[f"images of {index.split}"] = round(size)
    for name, count in parameters.items():
        rounds = 2 if name == "segmentation" and pseudo else 1
        size = training_bytes(count, networks[name].optimizer.name)
        planned[f"training of {name}"] = rounds * size
    return planned


def training_image_bytes(entry: Entry, labels: int, stride: int) -> float:
    """Return the bytes of all artifacts of one training image.

    These are its saliency map, the attention maps of its classes, the labels of both rounds, and
    `predicted_bytes`.
    """
    pixels = entry.width * entry.height
    maps = (1 + len(entry.classes or [])) * (pixels * GREY_PNG + FILE)
    return maps + 2 * (pixels * LABEL_PNG + FILE) + predicted_bytes(entry, labels, stride)


def predicted_bytes(entry: Entry, labels: int, stride: int) -> float:
    """Return the bytes of an image's prediction, CRF result and logits.

    The logits have `labels` channels and one value per `stride` pixels in each direction.
    """
    logits = labels * math.ceil(entry.width / stride) * math.ceil(entry.height / stride)
    images = 2 * (entry.width * entry.height * LABEL_PNG + FILE)
    return images + logits * LOGIT_BYTES + FILE


def training_bytes(parameters: int, optimizer: str) -> int:
    """Return the bytes of the weights and checkpoints of a training."""
    return PARAMETER_BYTES * parameters * (1 + CHECKPOINTS * (1 + STATES[optimizer]))


def bytes_there(experiment: Path, folders: Sequence[str] = FOLDERS) -> int:
    """Return the bytes that an experiment has already written to `folders`."""
    files = (f for name in folders for f in (experiment / name).rglob("*") if f.is_file())
    return sum(file.stat().st_size for file in files)
