"""Fetch a published segmentation checkpoint and convert it to this project's weight format."""

import argparse
from pathlib import Path

from i2crc.artifacts.provenance import Origin, write_beside
from i2crc.config.schema import Segmentation
from i2crc.data.index import read_index
from i2crc.data.transforms import CAFFE_BGR, IMAGENET
from i2crc.fetch.download import fetch, fetch_once
from i2crc.inference.prediction import load_published
from i2crc.models.checkpoints import save_weights
from i2crc.models.pretrained import Pretrained, provenance
from i2crc.runtime.addresses import hide
from i2crc.runtime.atomic import digest_value
from i2crc.runtime.errors import InputError
from i2crc.runtime.log import log
from i2crc.runtime.parser import add_downloads, make_parser, run


def main(arguments: argparse.Namespace) -> None:
    settings = Segmentation.model_validate_json(arguments.settings)
    classes = read_index(arguments.index).classes
    # The suffix tells the format, and a changed source must not meet the old file.
    suffix = (
        ".safetensors" if arguments.source.partition("?")[0].endswith(".safetensors") else ".pth"
    )
    if arguments.downloads and arguments.sha256:
        sha256 = arguments.sha256.lower()
        file = fetch_once(arguments.source, arguments.downloads, sha256, suffix)
    else:
        file = arguments.cache / f"{digest_value(arguments.source)[:16]}{suffix}"
        sha256 = fetch(arguments.source, file, arguments.sha256 or None)
    log.info("%s: SHA-256 %s", arguments.source, sha256)
    try:
        model = load_published(file, settings, len(classes))
    except InputError as error:
        raise InputError(f"{arguments.source}, fetched to {error}") from error
    preprocessing = CAFFE_BGR if settings.preprocessing == "caffe_bgr" else IMAGENET
    facts = provenance(
        Pretrained({}, arguments.source, sha256, preprocessing), preprocessing, classes
    )
    origin = Origin(Path(__file__), [arguments.index], settings)
    metadata = {"stage": origin.stage, "settings": settings.model_dump(), **facts}
    metadata["provenance"] = origin.lasting(arguments.weights)
    save_weights(arguments.weights, model, metadata)
    write_beside(arguments.weights, origin.describe(arguments.weights))


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--source", type=hide, required=True, help="URL or path of the checkpoint")
    parser.add_argument("--sha256", default="", help="its SHA-256; empty: not checked")
    parser.add_argument("--settings", default="{}", help="JSON: the section `segmentation`")
    parser.add_argument("--index", type=Path, required=True, help="an index, for the class names")
    parser.add_argument(
        "--cache", type=Path, required=True, help="folder of the file, kept to resume a transfer"
    )
    add_downloads(parser)
    parser.add_argument("--weights", type=Path, required=True, help="output: weights")
    run(main, parser)
