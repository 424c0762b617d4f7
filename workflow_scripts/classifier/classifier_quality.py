"""Measure how well a classifier ranks images: the average precision of every class."""

import argparse
from pathlib import Path
from typing import Any

from i2crc.artifacts.kept import make_once
from i2crc.artifacts.provenance import Origin
from i2crc.artifacts.schemas import ClassifierQuality, read_checked
from i2crc.data.index import read_index
from i2crc.models.weight_files import read_metadata
from i2crc.runtime.atomic import write_json
from i2crc.runtime.errors import InputError
from i2crc.runtime.log import log
from i2crc.runtime.parser import make_parser, run
from i2crc.training.options import add_deterministic


def key_figures(quality: dict[str, Any]) -> str:
    """Return the mean average precision of the classifier in one line."""
    name, mean = f"classifier on {quality['split']}", quality["mean_average_precision"]
    if mean is None:
        return f"{name}: no score, because no image has labels"
    return f"{name}: mean average precision {mean:.3f} over {quality['images']} images"


def main(arguments: argparse.Namespace) -> None:
    inputs = [arguments.weights, arguments.index]
    origin = Origin(Path(__file__), inputs, precision="fp32")

    def make() -> None:
        index = read_index(arguments.index)
        if read_metadata(arguments.weights)["classes"] != index.classes:
            raise InputError(
                f"{arguments.weights}: trained on other classes than those of {arguments.index}; "
                "give the classifier of this data set"
            )
        from i2crc.evaluation.classifier_quality import measure_classifier
        from i2crc.training import distributed

        # One thread per image and `threads` images at a time, as in infer_cam.
        device = distributed.start(arguments.gpus, 1, arguments.deterministic)
        origin.device = str(device)
        result = measure_classifier(index, arguments.weights, device, arguments.threads)
        provenance = origin.describe(arguments.output)
        write_json(arguments.output, {"split": index.split, **result, "provenance": provenance})

    make_once(origin, [arguments.output], make)
    log.info("%s", key_figures(read_checked(arguments.output, ClassifierQuality)))


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--weights", type=Path, required=True, help="trained classifier")
    parser.add_argument("--index", type=Path, required=True, help="index of the split")
    parser.add_argument("--gpus", type=int, default=0, help="1: use a GPU where there is one")
    parser.add_argument("--output", type=Path, required=True, help="output: quality as JSON")
    add_deterministic(parser)
    run(main, parser)
