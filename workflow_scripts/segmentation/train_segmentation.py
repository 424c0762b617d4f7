"""Train the segmentation network on pseudo labels, or, declared so, on ground-truth masks."""

import argparse
from pathlib import Path

from i2crc.artifacts.manifest import manifests_digest, read_manifests
from i2crc.config.schema import Segmentation
from i2crc.data.index import Index, read_index, training_digest
from i2crc.runtime.atomic import digest_file, digest_value
from i2crc.runtime.errors import InputError
from i2crc.runtime.log import log
from i2crc.runtime.parser import make_parser, run
from i2crc.training.checkpoint import publish, read_finished, take_over
from i2crc.training.options import Plan, add_options, make_plan


def training_labels(
    index: Index, settings: Segmentation, manifests: list[Path]
) -> tuple[dict[str, Path], str]:
    """Return the label file of each image, and a digest of their content."""
    if is_full(settings):
        missing = [entry.id for entry in index.images if not entry.mask]
        if missing:
            raise InputError(
                f"supervision is full, but {len(missing)} images have no mask: {missing[:5]}"
            )
        labels = {entry.id: Path(entry.mask) for entry in index.images if entry.mask}
        return labels, digest_value({name: digest_file(path) for name, path in labels.items()})
    found = read_manifests(manifests)
    labels = {name.removesuffix(".png"): path for name, (path, _) in found.items()}
    return labels, manifests_digest(manifests)


def is_full(settings: Segmentation) -> bool:
    """Return whether the labels are the masks of the data set."""
    return settings.supervision == "full"


def own_masks(arguments: argparse.Namespace, settings: Segmentation, index: Index) -> list[str]:
    """Return the name of the data set if its masks, or some trusted ones, are the labels."""
    has_masks = is_full(settings) or any(entry.trusted_mask for entry in index.images)
    return [arguments.dataset_name or "an unnamed data set"] if has_masks else []


def dev_index(arguments: argparse.Namespace) -> Index | None:
    """Return the index of the photographs that choose the weights, if there are any."""
    return read_index(arguments.dev) if arguments.dev else None


def validation_digest(index: Index) -> str:
    """Return a digest of the photographs and masks of an index."""
    return digest_value([[entry.id, entry.sha256, entry.mask_sha256] for entry in index.images])


def planned(arguments: argparse.Namespace) -> Plan:
    """Return what the script would train; rules/messages.smk asks before a run."""
    settings = Segmentation.model_validate_json(arguments.settings)
    index, dev = read_index(arguments.index), dev_index(arguments)
    masks, allowed = own_masks(arguments, settings, index), arguments.leak_images
    if not dev and not settings.hold_out:  # the setting then determines nothing
        settings = settings.model_copy(update={"validations": 0})
    return make_plan(
        arguments,
        Path(__file__),
        settings,
        settings.iterations,
        files=[arguments.index, *arguments.labels, *([arguments.dev] if dev else [])],
        inputs={
            "photographs or classes": training_digest(index),
            "labels": training_labels(index, settings, arguments.labels)[1],
            **({"dev photographs or masks": validation_digest(dev)} if dev else {}),
        },
        # Labels that were made are searched for leaks; a network that saw masks names their set.
        others={
            **({"dataset": {"name": masks[0]}} if masks else {}),
            **({} if is_full(settings) else {"evaluation": {"leak_images": allowed}}),
        },
    )


def main(arguments: argparse.Namespace) -> None:
    plan = planned(arguments)
    finished = read_finished(plan) or take_over(plan)
    if finished:
        log.info("already trained: %s", plan.weights)
        leaks = finished["leaks"]
    else:
        # Imported here, because a finished training must not wait for torch.
        from i2crc.evaluation.leaks import labels_equal_to_masks
        from i2crc.evaluation.validation import validation_of
        from i2crc.training import loop
        from i2crc.training.segmentation import train_segmentation

        settings = Segmentation.model_validate_json(arguments.settings)
        # Before `start`, after which the memory of the text would stay with this process.
        index = read_index(arguments.index)
        learnt = int(len(index.images) * (1 - settings.hold_out))
        device = loop.start(arguments, plan, learnt)
        labels, _ = training_labels(index, settings, arguments.labels)
        masks, leaks, allowed = own_masks(arguments, settings, index), [], arguments.leak_images
        if not is_full(settings):
            leaks = labels_equal_to_masks(index, labels, allowed, arguments.threads)
    if leaks and not arguments.allow_leaks:
        raise InputError(
            f"{leaks[0]}; give generated labels, or declare segmentation.supervision: full (to go "
            "on all the same, with a banner over every table: evaluation.allow_leaks: true)"
        )
    if not finished:
        dev = dev_index(arguments)
        index, validation = validation_of(index, labels, dev, settings, plan.seed)
        train_segmentation(plan, device, settings, index, labels, masks, leaks, validation)
    publish(plan, arguments.weights, arguments.history)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = make_parser(__doc__)
    parser.add_argument("--settings", default="{}", help="JSON: the section `segmentation`")
    parser.add_argument("--index", type=Path, required=True, help="training index")
    parser.add_argument("--labels", type=Path, nargs="*", default=[], help="manifests of labels")
    parser.add_argument("--dev", type=Path, nargs="?", help="index of dev, if there is one")
    parser.add_argument("--leak-images", type=int, default=3, help="labels that may equal masks")
    parser.add_argument("--allow-leaks", action="store_true", help="record them, do not stop")
    parser.add_argument("--dataset-name", default="", help="recorded where masks are trained on")
    add_options(parser)
    return parser


if __name__ == "__main__":
    run(main, parser())
