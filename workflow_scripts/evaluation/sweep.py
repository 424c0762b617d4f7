"""Score the labels that a range of values of one threshold would give, against the masks."""

import argparse
import json
from pathlib import Path
from typing import Any

from i2crc.artifacts.kept import make_once
from i2crc.artifacts.provenance import Origin
from i2crc.config.schema import Evaluation, PseudoLabels
from i2crc.data.index import read_index
from i2crc.runtime.atomic import read_json
from i2crc.runtime.log import log
from i2crc.runtime.parser import make_parser, run


def main(arguments: argparse.Namespace) -> None:
    parameter, values = arguments.parameter, arguments.values
    configured = json.loads(arguments.settings)
    settings = {"parameter": parameter, "values": values, "configured": configured}
    # The index holds the digests of the masks.
    inputs = [arguments.index, *arguments.cams, *arguments.saliency]
    origin = Origin(Path(__file__), inputs, settings)

    def make() -> list[dict[str, Any]]:
        from i2crc.evaluation.sweeps import sweep

        index = read_index(arguments.index)
        kind = Evaluation if parameter == "cam_background" else PseudoLabels
        section = kind.model_validate(configured)
        maps = arguments.cams, arguments.saliency
        result = sweep(section, parameter, values, index, *maps, arguments.threads)
        return [{"parameter": parameter, "split": index.split, **result}]

    make_once(origin, [arguments.output], make)
    made = read_json(arguments.output)
    name = f"{parameter} on {made['split']}: {len(made['points'])} values"
    if made["fixed"] is None:
        log.info("%s, no score, because no image has a mask", name)
    else:
        points = made["fixed"], made["oracle"]["miou_255_as_background"]
        keys = ("miou_255_as_background", "coverage", "value")
        text = (
            "%s, mIoU %.3f with 255 as background, coverage %.3f at %g as configured; "
            "%.3f, coverage %.3f at the best value %g"
        )
        log.info(text, name, *(point[key] for point in points for key in keys))


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--parameter", required=True, help="the setting that varies")
    parser.add_argument("--values", type=float, nargs="*", required=True, help="values to try")
    parser.add_argument("--index", type=Path, required=True, help="index of the split")
    parser.add_argument("--cams", type=Path, nargs="+", required=True, help="manifests of the CAMs")
    parser.add_argument(
        "--saliency", type=Path, nargs="*", default=[], help="manifests of the maps"
    )
    parser.add_argument("--settings", default="{}", help="JSON: the parameter's section")
    parser.add_argument("--output", type=Path, required=True, help="output: sweep as JSON")
    run(main, parser)
