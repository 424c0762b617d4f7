"""Score the label images of a stage (or its attention maps) against the ground-truth masks."""

import argparse
import os
from pathlib import Path
from typing import Any

from i2crc.artifacts.kept import make_once
from i2crc.artifacts.provenance import Origin
from i2crc.artifacts.schemas import Score, read_checked
from i2crc.config.schema import Evaluation
from i2crc.data.index import read_index
from i2crc.runtime.atomic import digest_file, write_json
from i2crc.runtime.log import log
from i2crc.runtime.parser import make_parser, run

DEFAULTS = Evaluation()


def key_figures(score: dict[str, Any]) -> str:
    """Return the mIoU and coverage of a scored stage in one line."""
    name = f"{score['stage']} on {score['split']}"
    if score["miou"] is None:
        return f"{name}: no score, because no image has a mask"
    return (
        f"{name}: mIoU {score['miou']:.3f} (255 left out), "
        f"{score['miou_255_as_background']:.3f} with 255 as background, "
        f"coverage {score['coverage']:.3f}"
    )


def main(arguments: argparse.Namespace) -> None:
    settings = {
        "stage": arguments.stage,
        "cam_background": arguments.cam_background if arguments.attention else None,
        "boundary_width": arguments.boundary_width,
        "bootstrap": arguments.bootstrap,
    }
    output, images_csv = arguments.output, arguments.images_csv
    # The index holds the digests of the masks.
    origin = Origin(Path(__file__), [arguments.index, *arguments.manifests], settings)

    def make() -> None:
        from i2crc.evaluation.scoring import score_stage

        index = read_index(arguments.index)
        result = score_stage(index, arguments.manifests, settings, arguments.threads, images_csv)
        written = {
            "stage": arguments.stage,
            "split": index.split,
            **result,
            "folder": os.path.relpath(images_csv.parent, output.parent),
            "files": {images_csv.name: digest_file(images_csv)},
            "provenance": origin.describe(output),
        }
        write_json(output, written)

    make_once(origin, [output, images_csv], make)
    log.info("%s", key_figures(read_checked(output, Score)))


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--stage", required=True, help="name in the result")
    parser.add_argument("--index", type=Path, required=True, help="index of the split")
    parser.add_argument(
        "--manifests", type=Path, nargs="+", required=True, help="manifests of all shards"
    )
    parser.add_argument(
        "--attention", action="store_true", help="the manifests list attention maps"
    )
    parser.add_argument(
        "--cam-background",
        type=float,
        default=DEFAULTS.cam_background,
        help="score of the background (0..1)",
    )
    parser.add_argument(
        "--boundary-width",
        type=float,
        default=DEFAULTS.boundary_width,
        help="width of the bands of boundary IoU, as a share of the image's diagonal",
    )
    parser.add_argument(
        "--bootstrap",
        type=int,
        default=DEFAULTS.bootstrap,
        help="replicates behind the interval of the mIoU",
    )
    parser.add_argument("--output", type=Path, required=True, help="output: scores as JSON")
    parser.add_argument(
        "--images-csv", type=Path, required=True, help="output: a row of scores per image"
    )
    run(main, parser)
