"""The training of the segmentation network (METHOD 17-22)."""

from functools import partial
from pathlib import Path
from typing import Any

import torch

from i2crc.config.schema import Segmentation
from i2crc.data.index import Index
from i2crc.data.transforms import CAFFE_BGR
from i2crc.models.deeplab import build_segmentation
from i2crc.models.pretrained import insert, load_pretrained, provenance
from i2crc.runtime.log import log
from i2crc.training.loop import Forward, Terms, seed_everything, train
from i2crc.training.losses import MeanCount, segmentation_loss
from i2crc.training.optim import parameter_groups
from i2crc.training.options import Plan
from i2crc.training.pictures import label_pictures
from i2crc.training.sampler import Batch
from i2crc.training.segmentation_dataset import SegmentationSamples


def loss(network: Forward, batch: Batch, mean_count: MeanCount) -> Terms:
    """Return the summed cross entropies of all scales (METHOD 21)."""
    logits = [scale.float() for scale in network(batch["image"])]
    return {"loss": segmentation_loss(logits, batch["label"], mean_count)}


def train_segmentation(
    plan: Plan,
    device: torch.device,
    settings: Segmentation,
    index: Index,
    labels: dict[str, Path],
    own_masks: list[str],
    leaks: list[str],
) -> None:
    """Train the network on an index; `labels` is the label image of each image id.

    `own_masks` names the data set if its masks are the labels. `leaks` are sentences that travel
    with the weights.
    """
    pretrained = load_pretrained(settings.weights, settings.backbone)
    bgr = settings.preprocessing == "caffe_bgr"
    preprocessing = CAFFE_BGR if bgr else pretrained.preprocessing
    seed_everything(plan.seed)
    model = build_segmentation(settings, len(index.classes))
    insert(model.base.features, pretrained)
    facts: dict[str, Any] = provenance(pretrained, preprocessing, index.classes)
    facts["masks_seen"] = sorted({*facts["masks_seen"], *own_masks})
    samples = SegmentationSamples(index, labels, settings, preprocessing)
    log.info("%d images, weights from %s", len(samples), pretrained.source)
    train(
        plan,
        device,
        model,
        parameter_groups(model, "base.classifier", settings.optimizer),
        samples,
        loss,
        partial(label_pictures, preprocessing=preprocessing),
        {**facts, "leaks": leaks},
    )
