"""Train the CAM classifier on image-level labels and saliency maps."""

import argparse
from functools import partial
from pathlib import Path

from i2crc import engine
from i2crc.classifier_data import ClassifierSamples
from i2crc.classifier_net import build_classifier, class_logits
from i2crc.config import Classifier
from i2crc.console import log, make_parser, run
from i2crc.dataset import read_index
from i2crc.losses import MeanCount, classification_loss, relation_losses
from i2crc.manifests import manifests_digest, read_manifests
from i2crc.provenance import content_digest
from i2crc.training_pictures import cam_pictures
from i2crc.weights import insert, load_pretrained, provenance


def make_loss(settings: Classifier) -> engine.LossFunction:
    """Classification plus the weighted relation terms (METHOD 9)."""
    weights = settings.relation_losses

    def loss(network: engine.Forward, batch: engine.Batch, mean_count: MeanCount) -> engine.Terms:
        cam = network(batch["image"]).float()
        terms = {
            "classification": classification_loss(class_logits(cam), batch["labels"], mean_count),
            **relation_losses(cam, batch["saliency"], batch["labels"], weights, mean_count),
        }
        factors = {"classification": 1.0, **weights.model_dump()}
        return {"loss": sum(factors[name] * term for name, term in terms.items()), **terms}

    return loss


def main(arguments: argparse.Namespace) -> None:
    settings = Classifier.model_validate_json(arguments.settings)
    device = engine.start(arguments, settings.batch_size)
    index = read_index(arguments.index)
    pretrained = load_pretrained(settings.weights, settings.backbone)

    engine.seed_everything(arguments.seed)
    model = build_classifier(settings, len(index.classes))
    insert(model.features, pretrained)
    per_epoch = engine.batches_per_epoch(len(index.images), settings.batch_size)
    iterations = max(1, settings.epochs * per_epoch // settings.accumulate)
    plan = engine.make_plan(
        arguments,
        Path(__file__),
        settings,
        min(iterations, settings.max_iterations or iterations),
        device,
        files=[arguments.index, arguments.saliency],
        inputs={
            "index": content_digest(arguments.index),
            "saliency": manifests_digest([arguments.saliency]),
        },
        facts=provenance(pretrained, pretrained.preprocessing, index.classes),
    )
    saliency = {Path(n).stem: path for n, (path, _) in read_manifests([arguments.saliency]).items()}
    samples = ClassifierSamples(index, saliency, settings, pretrained.preprocessing)
    groups = engine.parameter_groups(model, "extra_convs", settings.optimizer)
    log.info("%d images, weights from %s", len(samples), pretrained.source)
    pictures = partial(cam_pictures, preprocessing=pretrained.preprocessing)
    engine.train(plan, model, groups, samples, make_loss(settings), pictures)
    engine.publish(plan, arguments.weights, arguments.history)


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--settings", default="{}", help="JSON: the section `classifier`")
    parser.add_argument("--index", type=Path, required=True, help="training index")
    parser.add_argument(
        "--saliency", type=Path, required=True, help="manifest of the saliency maps"
    )
    engine.add_options(parser)
    run(main, parser)
