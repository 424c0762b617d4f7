"""Score saliency maps as foreground masks against the ground truth."""

import argparse
from pathlib import Path
from typing import Any

from i2crc.artifacts.kept import make_once
from i2crc.artifacts.provenance import Origin
from i2crc.data.index import read_index
from i2crc.runtime.atomic import read_json
from i2crc.runtime.log import log
from i2crc.runtime.parser import make_parser, run


def main(arguments: argparse.Namespace) -> None:
    threshold = arguments.threshold
    # The index holds the digests of the masks.
    inputs = [arguments.index, *arguments.saliency]
    origin = Origin(Path(__file__), inputs, {"threshold": threshold})

    def make() -> list[dict[str, Any]]:
        from i2crc.evaluation.saliency_quality import measure_saliency

        index = read_index(arguments.index)
        result = measure_saliency(index, arguments.saliency, threshold, arguments.threads)
        return [{"split": index.split, **result}]

    make_once(origin, [arguments.output], make)
    found = read_json(arguments.output)
    if found["iou"] is None:
        log.info(
            "saliency on %s: no score, because no image has a mask with foreground", found["split"]
        )
    else:
        figures = found["split"], found["iou"], found["mae"]
        log.info("saliency on %s: IoU %.3f, mean absolute error %.3f", *figures)


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--index", type=Path, required=True, help="index of the split")
    parser.add_argument(
        "--saliency", type=Path, nargs="+", required=True, help="manifests of the maps"
    )
    parser.add_argument("--threshold", type=float, required=True, help="of the foreground (0..1)")
    parser.add_argument("--output", type=Path, required=True, help="output: quality as JSON")
    run(main, parser)
