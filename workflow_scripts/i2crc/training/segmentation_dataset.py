"""Training samples of the segmentation network: augmented photograph and label (METHOD 19-20)."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from i2crc.config.schema import Segmentation
from i2crc.data.images import IGNORE, read_label, read_photo
from i2crc.data.index import Index
from i2crc.data.transforms import Preprocessing
from i2crc.runtime.errors import InputError


class SegmentationSamples:
    """Samples of the segmentation network, of side S = `crop_size`.

    A sample is `{"id", "image" (3, S, S) float32, "label" (S, S) uint8}`.
    """

    def __init__(
        self,
        index: Index,
        labels: dict[str, Path],
        settings: Segmentation,
        preprocessing: Preprocessing,
    ) -> None:
        self.index, self.labels = index, labels
        self.settings, self.preprocessing = settings, preprocessing

    def __len__(self) -> int:
        return len(self.index.images)

    def sample(self, index: int, rng: np.random.Generator) -> dict:
        """Return sample `index`, scaled, cropped and mirrored with random numbers from `rng`.

        Raise InputError if label and photograph differ in size.
        """
        entry = self.index.images[index]
        photo = np.asarray(read_photo(Path(entry.image)))
        label = read_label(self.labels[entry.id])
        if photo.shape[:2] != label.shape:
            raise InputError(
                f"{self.labels[entry.id]}: size {label.shape[::-1]}, the photograph has "
                f"{photo.shape[1::-1]}; delete the label, or give the mask of this photograph"
            )
        scale = self.settings.scale_jitter[rng.integers(len(self.settings.scale_jitter))]
        image, target = rescale(self.preprocessing(photo), label, scale)
        image, target = random_crop(image, target, self.settings.crop_size, rng)
        if self.settings.flip and rng.random() < 0.5:
            image, target = image.flip(2), target.flip(1)
        return {"id": entry.id, "image": image, "label": target}


def rescale(
    image: torch.Tensor, label: np.ndarray, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a (3, H, W) image and its (H, W) label, scaled; sides are truncated to integers.

    The image is resized bilinear without antialias, the label nearest.
    """
    height, width = (max(1, int(side * scale)) for side in label.shape)
    if scale != 1:
        image = F.interpolate(
            image[None], size=(height, width), mode="bilinear", align_corners=False
        )[0]
        resized = Image.fromarray(label).resize((width, height), Image.Resampling.NEAREST)
        label = np.asarray(resized)
    return image, torch.from_numpy(np.array(label))


def random_crop(
    image: torch.Tensor, label: torch.Tensor, size: int, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a random crop of side `size` of an image and its label.

    A smaller image is padded below and at the right with 0, its label with 255.
    """
    missing = [max(0, size - side) for side in label.shape]
    image = F.pad(image, (0, missing[1], 0, missing[0]))
    label = F.pad(label, (0, missing[1], 0, missing[0]), value=IGNORE)
    top, left = (int(rng.integers(side - size + 1)) for side in label.shape)
    rows, columns = slice(top, top + size), slice(left, left + size)
    return image[:, rows, columns], label[rows, columns]
