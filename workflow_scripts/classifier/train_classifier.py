"""Train the CAM classifier on image-level labels and saliency maps."""

import argparse
from pathlib import Path

from i2crc.artifacts.manifest import manifests_digest, read_manifests
from i2crc.config.schema import Classifier
from i2crc.data.index import read_index, training_digest
from i2crc.runtime.log import log
from i2crc.runtime.parser import make_parser, run
from i2crc.training.checkpoint import publish, read_finished, take_over
from i2crc.training.options import Plan, add_options, make_plan


def planned(arguments: argparse.Namespace) -> Plan:
    """Return what the script would train; rules/messages.smk asks before a run."""
    settings = Classifier.model_validate_json(arguments.settings)
    index = read_index(arguments.index)
    per_epoch = max(1, len(index.images) // settings.batch_size)
    iterations = max(1, settings.epochs * per_epoch // settings.accumulate)
    return make_plan(
        arguments,
        Path(__file__),
        settings,
        min(iterations, settings.max_iterations or iterations),
        files=[arguments.index, *arguments.saliency],
        inputs={
            "photographs or classes": training_digest(index),
            "saliency maps": manifests_digest(arguments.saliency),
        },
    )


def main(arguments: argparse.Namespace) -> None:
    plan = planned(arguments)
    if read_finished(plan) or take_over(plan):
        log.info("already trained: %s", plan.weights)
    else:
        # Imported here, because a finished training must not wait for torch.
        from i2crc.training import loop
        from i2crc.training.classifier import train_classifier

        settings = Classifier.model_validate_json(arguments.settings)
        # Before `start`, after which the memory of the text would stay with this process.
        index = read_index(arguments.index)
        saliency = {
            name.removesuffix(".png"): path
            for name, (path, _) in read_manifests(arguments.saliency).items()
        }
        device = loop.start(arguments, plan, len(index.images))
        train_classifier(plan, device, settings, index, saliency)
    publish(plan, arguments.weights, arguments.history)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = make_parser(__doc__)
    parser.add_argument("--settings", default="{}", help="JSON: the section `classifier`")
    parser.add_argument("--index", type=Path, required=True, help="training index")
    parser.add_argument(
        "--saliency", type=Path, nargs="+", required=True, help="manifests of these maps"
    )
    add_options(parser)
    return parser


if __name__ == "__main__":
    run(main, parser())
