"""The training of the CAM classifier (METHOD 2-11)."""

from functools import partial
from pathlib import Path

import torch

from i2crc.config.schema import Classifier
from i2crc.data.index import Index
from i2crc.models.cam_classifier import build_classifier, class_logits
from i2crc.models.pretrained import insert, load_pretrained, provenance
from i2crc.runtime.log import log
from i2crc.training.classifier_dataset import ClassifierSamples
from i2crc.training.loop import Forward, LossFunction, Terms, seed_everything, train
from i2crc.training.losses import MeanCount, classification_loss, relation_losses
from i2crc.training.optim import parameter_groups
from i2crc.training.options import Plan
from i2crc.training.pictures import cam_pictures
from i2crc.training.sampler import Batch


def make_loss(settings: Classifier) -> LossFunction:
    """Return the classification loss plus the weighted relation terms (METHOD 9)."""
    weights = settings.relation_losses

    def loss(network: Forward, batch: Batch, mean_count: MeanCount) -> Terms:
        cam = network(batch["image"]).float()
        terms = {
            "classification": classification_loss(class_logits(cam), batch["labels"], mean_count),
            **relation_losses(cam, batch["saliency"], batch["labels"], weights, mean_count),
        }
        factors = {"classification": 1.0, **weights.model_dump()}
        return {"loss": sum(factors[name] * term for name, term in terms.items()), **terms}

    return loss


def train_classifier(
    plan: Plan,
    device: torch.device,
    settings: Classifier,
    index: Index,
    saliency: dict[str, Path],
) -> None:
    """Train the classifier on an index; `saliency` is the map of each image id."""
    pretrained = load_pretrained(settings.weights, settings.backbone)
    seed_everything(plan.seed)
    model = build_classifier(settings, len(index.classes))
    insert(model.features, pretrained)
    samples = ClassifierSamples(index, saliency, settings, pretrained.preprocessing)
    log.info("%d images, weights from %s", len(samples), pretrained.source)
    train(
        plan,
        device,
        model,
        parameter_groups(model, "extra_convs", settings.optimizer),
        samples,
        make_loss(settings),
        partial(cam_pictures, preprocessing=pretrained.preprocessing),
        provenance(pretrained, pretrained.preprocessing, index.classes),
    )
