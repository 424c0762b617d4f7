"""The training of the CAM classifier: its samples, its loss, its initial weights (METHOD 2-11)."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torchvision.transforms import functional as TF

from i2crc.config.schema import Classifier
from i2crc.data.images import read_gray, read_photo
from i2crc.data.index import Index
from i2crc.data.transforms import resize_photo, resize_saliency
from i2crc.models.cam_classifier import build_classifier, class_logits
from i2crc.models.pretrained import insert, load_pretrained, provenance
from i2crc.training.loop import TrainingRun
from i2crc.training.losses import classification_loss, relation_losses
from i2crc.training.options import Plan
from i2crc.training.samples import Batch, Samples


def train_classifier(
    plan: Plan, device: torch.device, settings: Classifier, index: Index, saliency: dict[str, Path]
) -> None:
    """Train the classifier on an index; `saliency` is the map of each image id."""
    pretrained = load_pretrained(settings.weights, settings.backbone)
    torch.manual_seed(plan.seed)
    model = build_classifier(settings, len(index.classes))
    insert(model.features, pretrained)
    samples = ClassifierSamples(index, saliency, settings, pretrained.preprocessing)
    facts = provenance(pretrained, pretrained.preprocessing, index.classes)
    TrainingRun(plan, device, model, "extra_convs", samples).train(facts)


class ClassifierSamples(Samples):
    """Samples of the classifier, of side S = `input_size`, with K classes; the files are saliency.

    A sample is `{"id", "image" (3, S, S), "saliency" (S, S) in 0..1, "labels" (K,) 0/1}`, float32.
    """

    settings: Classifier

    def sample(self, number: int, rng: np.random.Generator) -> Batch:
        """Return sample `number`, augmented with random numbers from `rng`."""
        entry, size = self.index.images[number], self.settings.input_size
        image = resize_photo(read_photo(Path(entry.image)), size)
        pixels = np.asarray(jitter_colors(image, self.settings.color_jitter, rng))
        saliency = resize_saliency(read_gray(self.files[entry.id]), size)
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

    def pictures(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Return image, saliency and strongest CAM of the image's classes, beside each other."""
        images = batch["image"]
        maps = model(images).float().clamp(min=0) * batch["labels"][:, :, None, None]
        strongest = maps.amax(dim=1, keepdim=True)
        strongest = strongest / (strongest.amax(dim=(2, 3), keepdim=True) + 1e-8)
        attention = F.interpolate(
            strongest, size=images.shape[2:], mode="bilinear", align_corners=False
        )
        gray = torch.cat([batch["saliency"][:, None], attention], dim=3).cpu()
        return torch.cat([self.preprocessing.undo(images), gray.expand(-1, 3, -1, -1)], dim=3)

    def loss(self, output: torch.Tensor, batch: Batch) -> dict[str, torch.Tensor]:
        """Return the classification loss plus the weighted relation terms (METHOD 9)."""
        weights, labels, cam = self.settings.relation_losses, batch["labels"], output.float()
        classification = classification_loss(class_logits(cam), labels)
        relations = relation_losses(cam, batch["saliency"], labels, weights)
        weighted = (getattr(weights, name) * value for name, value in relations.items())
        total = sum(weighted, start=classification)
        return {"loss": total, "classification": classification, **relations}


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
