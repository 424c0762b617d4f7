"""Pictures for TensorBoard: images of the training beside the output of the network."""

import torch
import torch.nn.functional as F
from torch import nn

from i2crc.data.images import voc_palette
from i2crc.data.transforms import Preprocessing


def cam_pictures(
    model: nn.Module, batch: dict[str, torch.Tensor], preprocessing: Preprocessing
) -> torch.Tensor:
    """Return image, saliency and strongest CAM of the image's classes: (N, 3, H, 3W) in 0..1."""
    images = batch["image"]
    maps = model(images).float().clamp(min=0) * batch["labels"][:, :, None, None]
    strongest = maps.amax(dim=1, keepdim=True)
    strongest = strongest / (strongest.amax(dim=(2, 3), keepdim=True) + 1e-8)
    attention = F.interpolate(
        strongest, size=images.shape[2:], mode="bilinear", align_corners=False
    )
    gray = [batch["saliency"][:, None], attention]
    return _beside(preprocessing.undo(images), *(g.cpu().expand(-1, 3, -1, -1) for g in gray))


def label_pictures(
    model: nn.Module, batch: dict[str, torch.Tensor], preprocessing: Preprocessing
) -> torch.Tensor:
    """Return image, training label and prediction in VOC colours: (N, 3, H, 3W) in 0..1."""
    images = batch["image"]
    logits = F.interpolate(
        model(images).float(), size=images.shape[2:], mode="bilinear", align_corners=False
    )
    colors = torch.from_numpy(voc_palette()).float() / 255
    labels = [batch["label"].cpu(), logits.argmax(dim=1).cpu()]
    return _beside(
        preprocessing.undo(images), *(colors[label.long()].permute(0, 3, 1, 2) for label in labels)
    )


def _beside(*pictures: torch.Tensor) -> torch.Tensor:
    return torch.cat([picture.float() for picture in pictures], dim=3)
