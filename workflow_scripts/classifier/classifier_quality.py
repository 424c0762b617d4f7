"""Measure how well a classifier ranks images: the average precision of every class."""

import argparse
from pathlib import Path
from typing import Any

from i2crc.artifacts.kept import make_once
from i2crc.artifacts.provenance import Origin
from i2crc.data.index import read_index
from i2crc.runtime.atomic import read_json
from i2crc.runtime.log import log
from i2crc.runtime.parser import make_parser, run
from i2crc.training.options import add_deterministic


def main(arguments: argparse.Namespace) -> None:
    inputs = [arguments.weights, arguments.index]
    origin = Origin(Path(__file__), inputs, precision="fp32")

    def make() -> list[dict[str, Any]]:
        from i2crc.evaluation.classifier_quality import measure_classifier
        from i2crc.training import distributed

        # One thread per image and `threads` images at a time, as in infer_cam.
        device = distributed.start(arguments.gpus, 1, arguments.deterministic)
        origin.device = str(device)
        index = read_index(arguments.index)
        result = measure_classifier(index, arguments.weights, device, arguments.threads)
        return [{"split": index.split, **result}]

    make_once(origin, [arguments.output], make)
    found = read_json(arguments.output)
    figures = found["split"], found["mean_average_precision"], found["images"]
    if found["mean_average_precision"] is None:
        log.info("classifier on %s: no score, because no image has labels", found["split"])
    else:
        log.info("classifier on %s: mean average precision %.3f over %d images", *figures)


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--weights", type=Path, required=True, help="trained classifier")
    parser.add_argument("--index", type=Path, required=True, help="index of the split")
    parser.add_argument("--gpus", type=int, default=0, help="1: use a GPU where there is one")
    parser.add_argument("--output", type=Path, required=True, help="output: quality as JSON")
    add_deterministic(parser)
    run(main, parser)
