"""Score saliency maps as foreground masks against the ground truth."""

import argparse
from pathlib import Path
from typing import Any

from i2crc.artifacts.kept import make_once
from i2crc.artifacts.provenance import Origin
from i2crc.artifacts.schemas import SaliencyQuality, read_checked
from i2crc.config.schema import Evaluation
from i2crc.data.index import read_index
from i2crc.runtime.atomic import write_json
from i2crc.runtime.log import log
from i2crc.runtime.parser import make_parser, run


def key_figures(quality: dict[str, Any]) -> str:
    """Return the IoU and the error of the saliency maps in one line."""
    name = f"saliency on {quality['split']}"
    if quality["iou"] is None or quality["mae"] is None:
        return f"{name}: no score, because no image has a mask with foreground"
    return f"{name}: IoU {quality['iou']:.3f}, mean absolute error {quality['mae']:.3f}"


def main(arguments: argparse.Namespace) -> None:
    settings = {"threshold": arguments.threshold}
    # The index holds the digests of the masks.
    origin = Origin(Path(__file__), [arguments.index, arguments.saliency], settings)

    def make() -> None:
        from i2crc.evaluation.saliency_quality import measure_saliency

        index = read_index(arguments.index)
        result = measure_saliency(index, arguments.saliency, arguments.threshold, arguments.threads)
        provenance = origin.describe(arguments.output)
        write_json(arguments.output, {"split": index.split, **result, "provenance": provenance})

    make_once(origin, [arguments.output], make)
    log.info("%s", key_figures(read_checked(arguments.output, SaliencyQuality)))


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--index", type=Path, required=True, help="index of the split")
    parser.add_argument(
        "--saliency", type=Path, required=True, help="manifest of the saliency maps"
    )
    parser.add_argument(
        "--threshold",
        type=float,
        default=Evaluation().saliency_threshold,
        help="saliency (0..1) from which a pixel is foreground",
    )
    parser.add_argument("--output", type=Path, required=True, help="output: quality as JSON")
    run(main, parser)
