"""Training samples of the classifier: photograph, saliency map, image-level labels (METHOD 4-5)."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import functional as TF

from i2crc.config.schema import Classifier
from i2crc.data.images import read_gray, read_photo
from i2crc.data.index import Index
from i2crc.data.transforms import Preprocessing, resize_photo, resize_saliency


class ClassifierSamples:
    """Samples of the classifier, of side S = `input_size`, with K classes.

    A sample is `{"id", "image" (3, S, S), "saliency" (S, S) in 0..1, "labels" (K,) 0/1}`, float32.
    """

    def __init__(
        self,
        index: Index,
        saliency: dict[str, Path],
        settings: Classifier,
        preprocessing: Preprocessing,
    ) -> None:
        self.index, self.saliency = index, saliency
        self.settings, self.preprocessing = settings, preprocessing

    def __len__(self) -> int:
        return len(self.index.images)

    def sample(self, index: int, rng: np.random.Generator) -> dict:
        """Return sample `index`, augmented with random numbers from `rng`."""
        entry = self.index.images[index]
        size = self.settings.input_size
        image = jitter_colors(
            resize_photo(read_photo(Path(entry.image)), size), self.settings.color_jitter, rng
        )
        pixels = np.asarray(image)
        saliency = resize_saliency(read_gray(self.saliency[entry.id]), size)
        if self.settings.flip and rng.random() < 0.5:
            pixels, saliency = pixels[:, ::-1], saliency[:, ::-1]
        labels = torch.zeros(len(self.index.classes))
        labels[entry.classes] = 1
        return {
            "id": entry.id,
            "image": self.preprocessing(pixels),
            "saliency": torch.from_numpy(saliency.copy()),
            "labels": labels,
        }


def jitter_colors(
    image: Image.Image, strengths: list[float], rng: np.random.Generator
) -> Image.Image:
    """Return the image with brightness, contrast, saturation and hue changed in random order.

    The first three are multiplied by up to 1 +- their strength. The hue is turned by up to +- its
    strength, in full circles.
    """
    brightness, contrast, saturation, hue = strengths
    changes = [
        (TF.adjust_brightness, max(0.0, 1 - brightness), 1 + brightness),
        (TF.adjust_contrast, max(0.0, 1 - contrast), 1 + contrast),
        (TF.adjust_saturation, max(0.0, 1 - saturation), 1 + saturation),
        (TF.adjust_hue, -hue, hue),
    ]
    for number in rng.permutation(len(changes)):
        change, low, high = changes[number]
        if low != high:
            image = change(image, rng.uniform(low, high))
    return image
