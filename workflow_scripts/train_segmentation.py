"""Train the segmentation network on pseudo labels, or, declared so, on ground-truth masks."""

import argparse
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from i2crc import engine
from i2crc.config import Segmentation
from i2crc.console import log, make_parser, run
from i2crc.dataset import Entry, Index, read_index
from i2crc.files import InputError, digest_file, digest_value
from i2crc.images import IGNORE, read_label
from i2crc.losses import MeanCount, segmentation_loss
from i2crc.manifests import manifests_digest, read_manifests
from i2crc.preprocessing import CAFFE_BGR
from i2crc.provenance import content_digest
from i2crc.segmentation_data import SegmentationSamples
from i2crc.segmentation_net import build_segmentation
from i2crc.training_pictures import label_pictures
from i2crc.weights import insert, load_pretrained, provenance


def loss(network: engine.Forward, batch: engine.Batch, mean_count: MeanCount) -> engine.Terms:
    logits = [scale.float() for scale in network(batch["image"])]
    return {"loss": segmentation_loss(logits, batch["label"], mean_count)}


def leaks_of(index: Index, labels: dict[str, Path], allowed: int, threads: int) -> list[str]:
    """A sentence where more than `allowed`, or all, pseudo labels equal the image's mask."""

    def equal(entry: Entry) -> bool:
        truth, label = read_label(Path(entry.mask)), read_label(labels[entry.id])
        counted = truth != IGNORE
        return truth.shape == label.shape and np.array_equal(truth[counted], label[counted])

    masked = [entry for entry in index.images if entry.mask]
    with ThreadPoolExecutor(threads) as pool:
        leaks = [e.id for e, same in zip(masked, pool.map(equal, masked), strict=True) if same]
    if not leaks or (len(leaks) <= allowed and len(leaks) < len(masked)):
        return []
    return [
        f"segmentation.supervision is pseudo, but {len(leaks)} of {len(masked)} labels equal the "
        f"ground truth (first: {labels[leaks[0]]})"
    ]


def main(arguments: argparse.Namespace) -> None:
    settings = Segmentation.model_validate_json(arguments.settings)
    device = engine.start(arguments, settings.batch_size)
    index = read_index(arguments.index)
    labels, labels_digest = training_labels(index, settings, arguments)
    leaks = []
    if settings.supervision == "pseudo":
        leaks = leaks_of(index, labels, arguments.leak_images, arguments.threads)
    if leaks and not arguments.allow_leaks:
        raise InputError(
            f"{leaks[0]}; give generated labels, or declare segmentation.supervision: full (to go "
            "on all the same, with a banner over every table: evaluation.allow_leaks: true)"
        )
    pretrained = load_pretrained(settings.weights, settings.backbone)
    bgr = settings.preprocessing == "caffe_bgr"
    preprocessing = CAFFE_BGR if bgr else pretrained.preprocessing

    engine.seed_everything(arguments.seed)
    model = build_segmentation(settings, len(index.classes))
    insert(model.base.features, pretrained)
    facts = provenance(pretrained, preprocessing, index.classes)
    if settings.supervision == "full":
        own = arguments.dataset_name or "an unnamed data set"
        facts["masks_seen"] = sorted({*facts["masks_seen"], own})
    plan = engine.make_plan(
        arguments,
        Path(__file__),
        settings,
        settings.iterations,
        device,
        files=[arguments.index, *arguments.labels],
        inputs={"index": content_digest(arguments.index), "labels": labels_digest},
        facts={**facts, "leaks": leaks},
    )
    samples = SegmentationSamples(index, labels, settings, preprocessing)
    groups = engine.parameter_groups(model, "base.classifier", settings.optimizer)
    log.info("%d images, weights from %s", len(samples), pretrained.source)
    pictures = partial(label_pictures, preprocessing=preprocessing)
    engine.train(plan, model, groups, samples, loss, pictures)
    engine.publish(plan, arguments.weights, arguments.history)


def training_labels(
    index: Index, settings: Segmentation, arguments: argparse.Namespace
) -> tuple[dict[str, Path], str]:
    """The label file of each image, and a digest of them all."""
    if settings.supervision == "full":
        missing = [entry.id for entry in index.images if not entry.mask]
        if missing:
            raise InputError(
                f"supervision is full, but {len(missing)} images have no mask: {missing[:5]}"
            )
        labels = {entry.id: Path(entry.mask) for entry in index.images}
        return labels, digest_value({name: digest_file(path) for name, path in labels.items()})
    found = read_manifests(arguments.labels)
    labels = {Path(name).stem: path for name, (path, _) in found.items()}
    return labels, manifests_digest(arguments.labels)


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--settings", default="{}", help="JSON: the section `segmentation`")
    parser.add_argument("--index", type=Path, required=True, help="training index")
    parser.add_argument(
        "--labels", type=Path, nargs="*", default=[], help="manifests of the pseudo labels"
    )
    parser.add_argument(
        "--leak-images", type=int, default=3, help="labels that may equal the ground truth"
    )
    parser.add_argument(
        "--allow-leaks", action="store_true", help="record such labels, do not stop"
    )
    parser.add_argument("--dataset-name", default="", help="recorded where masks are trained on")
    engine.add_options(parser)
    run(main, parser)
