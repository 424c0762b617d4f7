"""Score the labels that a range of values of one threshold would give, against the masks."""

import argparse
from pathlib import Path
from typing import Any

from i2crc.artifacts.kept import make_once
from i2crc.artifacts.provenance import Origin
from i2crc.artifacts.schemas import Sweep, read_checked
from i2crc.config.schema import Evaluation, PseudoLabels
from i2crc.data.index import read_index
from i2crc.runtime.atomic import write_json
from i2crc.runtime.errors import InputError
from i2crc.runtime.log import log
from i2crc.runtime.parser import make_parser, run

CAM = "cam_background"
LABEL = ("attention_threshold", "conflict_threshold", "object_threshold", "salient_value")


def key_figures(sweep: dict[str, Any]) -> str:
    """Return the mIoU of the configured and of the best value in one line."""
    name = f"{sweep['parameter']} on {sweep['split']}: {len(sweep['points'])} values"
    if sweep["fixed"] is None:
        return f"{name}, no score, because no image has a mask"
    fixed, best = sweep["fixed"], sweep["oracle"]["miou"]
    return (
        f"{name}, mIoU {fixed['miou']:.3f} at {fixed['value']:g} as configured, "
        f"{best['miou']:.3f} at the best value {best['value']:g}"
    )


def main(arguments: argparse.Namespace) -> None:
    parameter, background = arguments.parameter, arguments.cam_background
    if parameter != CAM and arguments.saliency is None:
        raise InputError(f"--saliency: missing; {parameter} needs the saliency maps")
    saliency = [] if parameter == CAM else [arguments.saliency]
    labels = PseudoLabels.model_validate_json(arguments.settings)
    settings = {
        "parameter": parameter,
        "values": arguments.values,
        "configured": {CAM: background} if parameter == CAM else labels.model_dump(),
    }
    # The index holds the digests of the masks.
    origin = Origin(Path(__file__), [arguments.index, *arguments.cams, *saliency], settings)

    def make() -> None:
        from i2crc.evaluation.sweeps import sweep, with_value

        index = read_index(arguments.index)
        section = with_value(Evaluation(), CAM, background) if parameter == CAM else labels
        result = sweep(
            section,
            parameter,
            arguments.values,
            index,
            arguments.cams,
            saliency,
            arguments.threads,
        )
        written = {
            "parameter": parameter,
            "split": index.split,
            **result,
            "provenance": origin.describe(arguments.output),
        }
        write_json(arguments.output, written)

    make_once(origin, [arguments.output], make)
    log.info("%s", key_figures(read_checked(arguments.output, Sweep)))


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument(
        "--parameter", required=True, choices=(CAM, *LABEL), help="the setting that varies"
    )
    parser.add_argument("--values", type=float, nargs="+", required=True, help="values to try")
    parser.add_argument("--index", type=Path, required=True, help="index of the split")
    parser.add_argument(
        "--cams", type=Path, nargs="+", required=True, help="manifests of the attention maps"
    )
    parser.add_argument(
        "--saliency", type=Path, nargs="?", help="manifest of the saliency maps, if labels need it"
    )
    parser.add_argument("--settings", default="{}", help="JSON: the section `pseudo_labels`")
    parser.add_argument(
        "--cam-background",
        type=float,
        default=Evaluation().cam_background,
        help="configured background score of a CAM (0..1)",
    )
    parser.add_argument("--output", type=Path, required=True, help="output: sweep as JSON")
    run(main, parser)
