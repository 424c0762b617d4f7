"""Score the label images of a stage (or its attention maps) against the ground-truth masks."""

import argparse
import json
from pathlib import Path
from typing import Any

from i2crc.artifacts.kept import make_once
from i2crc.artifacts.provenance import Origin
from i2crc.config.schema import Evaluation
from i2crc.data.index import read_index
from i2crc.runtime.atomic import read_json
from i2crc.runtime.log import log
from i2crc.runtime.parser import make_parser, run


def main(arguments: argparse.Namespace) -> None:
    stage, attention = arguments.stage, arguments.attention
    given = json.loads(arguments.settings)
    # The index holds the digests of the masks.
    inputs = [arguments.index, *arguments.manifests]
    origin = Origin(Path(__file__), inputs, {"stage": stage, "attention": attention, **given})

    def make() -> tuple[dict[str, Any], bytes]:
        from i2crc.evaluation.scoring import score_stage

        index, settings = read_index(arguments.index), Evaluation.model_validate(given)
        result, images = score_stage(
            index, arguments.manifests, attention, settings, arguments.threads
        )
        return {"stage": stage, "split": index.split, **result}, images

    make_once(origin, [arguments.output, arguments.images_csv], make)
    score = read_json(arguments.output)
    name = f"{stage} on {score['split']}"
    if score["miou"] is None:
        log.info("%s: no score, because no image has a mask", name)
    else:
        text = "%s: mIoU %.3f with 255 as background, coverage %.3f, mIoU %.3f with 255 left out"
        log.info(text, name, score["miou_255_as_background"], score["coverage"], score["miou"])


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--stage", required=True, help="name in the result")
    parser.add_argument("--index", type=Path, required=True, help="index of the split")
    parser.add_argument("--manifests", type=Path, nargs="+", required=True, help="of all shards")
    parser.add_argument("--attention", action="store_true", help="they list attention maps")
    parser.add_argument("--settings", default="{}", help="JSON: of the section `evaluation`")
    parser.add_argument("--output", type=Path, required=True, help="output: scores as JSON")
    parser.add_argument("--images-csv", type=Path, required=True, help="output: scores per image")
    run(main, parser)
