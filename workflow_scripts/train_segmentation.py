"""Train the segmentation network on pseudo labels, or, declared so, on ground-truth masks."""

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from i2crc import distributed, engine
from i2crc.config import Segmentation
from i2crc.console import log, make_parser, run
from i2crc.dataset import Index, read_index
from i2crc.files import InputError, digest_file, digest_value
from i2crc.images import IGNORE, read_label
from i2crc.losses import MeanCount, segmentation_loss
from i2crc.manifests import manifests_digest, read_manifests
from i2crc.preprocessing import CAFFE_BGR
from i2crc.segmentation_data import SegmentationSamples
from i2crc.segmentation_net import build_segmentation
from i2crc.weights import insert, load_pretrained, provenance


def loss(network: engine.Forward, batch: engine.Batch, mean_count: MeanCount) -> engine.Terms:
    logits = [scale.float() for scale in network(batch["image"])]
    return {"loss": segmentation_loss(logits, batch["label"], mean_count)}


def refuse_ground_truth(index: Index, labels: dict[str, Path], allowed: int, threads: int) -> None:
    """InputError where more than `allowed`, or all, pseudo labels equal the image's mask."""

    def equal(entry) -> bool:
        truth, label = read_label(Path(entry.mask)), read_label(labels[entry.id])
        counted = truth != IGNORE
        return truth.shape == label.shape and np.array_equal(truth[counted], label[counted])

    masked = [entry for entry in index.images if entry.mask]
    with ThreadPoolExecutor(threads) as pool:
        leaks = [e.id for e, same in zip(masked, pool.map(equal, masked), strict=True) if same]
    if leaks and (len(leaks) > allowed or len(leaks) == len(masked)):
        raise InputError(
            f"segmentation.supervision is pseudo, but {len(leaks)} of {len(masked)} labels equal "
            f"the ground truth (first: {labels[leaks[0]]}); give generated labels, or declare "
            "segmentation.supervision: full"
        )


def main(arguments: argparse.Namespace) -> None:
    settings = Segmentation.model_validate_json(arguments.settings)
    distributed.launch(arguments.gpus, arguments.processes, settings.batch_size)
    device = distributed.start(arguments.gpus, arguments.threads)
    index = read_index(arguments.index)
    labels, labels_digest = training_labels(index, settings, arguments)
    pretrained = load_pretrained(settings.weights, settings.backbone)
    bgr = settings.preprocessing == "caffe_bgr"
    preprocessing = CAFFE_BGR if bgr else pretrained.preprocessing

    engine.seed_everything(arguments.seed, arguments.deterministic)
    model = build_segmentation(settings, len(index.classes))
    insert(model.base.features, pretrained)
    plan = engine.make_plan(
        arguments,
        Path(__file__),
        settings,
        settings.iterations,
        device,
        inputs={"index": digest_file(arguments.index), "labels": labels_digest},
        facts=provenance(pretrained, preprocessing, index.classes),
    )
    samples = SegmentationSamples(index, labels, settings, preprocessing)
    groups = engine.parameter_groups(model, "base.classifier", settings.optimizer)
    log.info("%d images, weights from %s", len(samples), pretrained.source)
    engine.train(plan, model, groups, samples, loss)
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
    refuse_ground_truth(index, labels, arguments.leak_images, arguments.threads)
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
    engine.add_options(parser)
    run(main, parser)
