"""The training of the segmentation network: samples, loss, initial weights (METHOD 17-22)."""

import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from i2crc.config.schema import Segmentation
from i2crc.data.images import IGNORE, read_label, read_photo, resize_nearest, voc_palette
from i2crc.data.index import Index
from i2crc.data.transforms import CAFFE_BGR
from i2crc.models.deeplab import build_segmentation
from i2crc.models.pretrained import insert, load_pretrained, provenance
from i2crc.runtime.errors import InputError
from i2crc.training.loop import TrainingRun, Validation
from i2crc.training.losses import segmentation_loss
from i2crc.training.options import Plan
from i2crc.training.samples import Batch, Samples

# Smaller shares of pixels count as this one. So many label images are enough to find the shares.
SMALLEST, MOST_COUNTED = 1e-4, 10_000


def train_segmentation(
    plan: Plan,
    device: torch.device,
    settings: Segmentation,
    index: Index,
    labels: dict[str, Path],
    own_masks: list[str],
    leaks: list[str],
    validation: Validation | None = None,
) -> None:
    """Train the network on an index; `labels` is the label image of each image id.

    `own_masks` names the data set if its masks are the labels, or some of them. `leaks` are
    sentences that travel with the weights. `validation` scores the network meanwhile.
    """
    pretrained = load_pretrained(settings.weights, settings.backbone)
    bgr = settings.preprocessing == "caffe_bgr"
    preprocessing = CAFFE_BGR if bgr else pretrained.preprocessing
    torch.manual_seed(plan.seed)
    model = build_segmentation(settings, len(index.classes))
    insert(model.base.features, pretrained)
    samples = SegmentationSamples(index, labels, settings, preprocessing)
    if settings.class_balance:
        samples.class_weights = balanced_weights(index, labels, settings.class_balance)
    facts = provenance(pretrained, preprocessing, index.classes)
    facts["masks_seen"] = sorted({*pretrained.masks_seen, *own_masks})
    facts["leaks"] = leaks
    trusted = sum(entry.trusted_mask is not None for entry in index.images)
    is_pseudo = settings.supervision == "pseudo"
    facts["supervision"] = {
        "training_images": len(index.images),
        "trusted_masks": trusted if is_pseudo else 0,
    }
    if validation and validation.chooses:
        facts["supervision"]["dev_masks"] = validation.images
    TrainingRun(plan, device, model, "base.classifier", samples, validation).train(facts)


class SegmentationSamples(Samples):
    """Samples of the segmentation network, of side S = `crop_size`; the files are labels.

    A sample is `{"id", "image" (3, S, S) float32, "label" (S, S) uint8}`.
    """

    settings: Segmentation
    class_weights: torch.Tensor | None = None

    def sample(self, number: int, rng: np.random.Generator) -> Batch:
        """Return sample `number`, scaled, cropped and mirrored with random numbers from `rng`.

        Raise InputError if label and photograph itself differ in size.
        """
        entry = self.index.images[number]
        photo = np.array(read_photo(Path(entry.image)))
        label = read_label(self.files[entry.id])
        if label.shape[::-1] != entry.own_size:
            raise InputError(
                f"{self.files[entry.id]}: size {label.shape[::-1]}, the photograph has "
                f"{entry.own_size}; delete the label, or give the mask of this photograph"
            )
        label = resize_nearest(label, entry.size)
        scale = self.settings.scale_jitter[rng.integers(len(self.settings.scale_jitter))]
        part, target = scaled_crop(photo, label, scale, self.settings.crop_size, rng)
        image, target = padded(self.preprocessing(part), target, self.settings.crop_size)
        if self.settings.flip and rng.random() < 0.5:
            image, target = image.flip(2), target.flip(1)
        return {"id": entry.id, "image": image, "label": target}

    def pictures(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Return image, training label and prediction in VOC colours, beside each other."""
        images = batch["image"]
        logits = F.interpolate(
            model(images).float(), size=images.shape[2:], mode="bilinear", align_corners=False
        )
        labels = torch.cat([batch["label"], logits.argmax(dim=1)], dim=2).cpu()
        colors = torch.from_numpy(voc_palette()).float()[labels.long()] / 255
        return torch.cat([self.preprocessing.undo(images), colors.permute(0, 3, 1, 2)], dim=3)

    def loss(self, output: list[torch.Tensor], batch: Batch) -> dict[str, torch.Tensor]:
        """Return the summed cross entropies of all scales (METHOD 21)."""
        scales = [scale.float() for scale in output]
        return {"loss": segmentation_loss(scales, batch["label"], self.class_weights)}


def balanced_weights(index: Index, labels: dict[str, Path], power: float) -> torch.Tensor:
    """Return the (K+1,) float32 weights of background and K classes for the loss.

    The weight is a class's share of the labelled pixels, not below SMALLEST, to the power of
    -`power`. The labels count at the size of what the stages read, at most MOST_COUNTED of them,
    evenly taken from the index.
    """
    counts = np.zeros(256, dtype=np.int64)
    for entry in index.images[:: math.ceil(len(index.images) / MOST_COUNTED)]:
        label = resize_nearest(read_label(labels[entry.id]), entry.size)
        counts += np.bincount(label.ravel(), minlength=256)
    counts = counts[: len(index.classes) + 1]
    shares = counts / max(1, counts.sum())
    return torch.from_numpy(shares.clip(SMALLEST) ** -power).float()


def scaled_crop(
    photo: np.ndarray, label: np.ndarray, scale: float, size: int, rng: np.random.Generator
) -> tuple[np.ndarray, torch.Tensor]:
    """Return a random crop of an (H, W, 3) uint8 photograph and its (H, W) label, both scaled.

    The (h, w, 3) float32 and (h, w) crops have the side `size`, or that of the scaled photograph
    where it is smaller. Scaled sides are truncated to integers. The photograph is resized bilinear
    without antialias, the label nearest. Pixels outside the crop are not computed.
    """
    sides = [max(1, int(side * scale)) for side in label.shape]
    starts = [int(rng.integers(max(0, side - size) + 1)) for side in sides]
    rows, columns = (
        torch.arange(start, min(start + size, side))
        for start, side in zip(starts, sides, strict=True)
    )
    part = torch.from_numpy(photo)
    for axis, (side, wanted) in enumerate(zip(sides, (rows, columns), strict=True)):
        part = resized_lines(part, axis, side, wanted)
    if scale != 1:
        label = resize_nearest(label, (sides[1], sides[0]))
    target = np.array(label[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    return part.float().numpy(), torch.from_numpy(target)


def resized_lines(pixels: torch.Tensor, axis: int, side: int, wanted: torch.Tensor) -> torch.Tensor:
    """Return the lines `wanted` along an axis of pixels that are resized to `side` along it.

    They are those of F.interpolate, bilinear without antialias and without aligned corners.
    """
    own = pixels.shape[axis]
    if own == side:
        return pixels.index_select(axis, wanted)
    places = ((wanted + 0.5) * (own / side) - 0.5).clamp(min=0)
    before = places.long()
    after = (before + 1).clamp(max=own - 1)
    shape = [-1 if number == axis else 1 for number in range(pixels.dim())]
    return torch.lerp(
        pixels.index_select(axis, before).float(),
        pixels.index_select(axis, after).float(),
        (places - before).view(shape),
    )


def padded(
    image: torch.Tensor, label: torch.Tensor, size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return image and label with the side `size`, padded below and at the right: 0, label 255."""
    missing = [size - side for side in label.shape]
    padding = (0, missing[1], 0, missing[0])
    return F.pad(image, padding), F.pad(label, padding, value=IGNORE)
