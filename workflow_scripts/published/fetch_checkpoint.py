"""Fetch a published segmentation checkpoint and convert it to this project's weight format."""

import argparse
from pathlib import Path

from i2crc.artifacts.kept import keep, restore
from i2crc.artifacts.provenance import Origin, provenance_file, write_beside
from i2crc.config.schema import Segmentation
from i2crc.data.index import read_index
from i2crc.fetch.download import fetch, fetch_once
from i2crc.fetch.sources import local_path
from i2crc.runtime.addresses import hide
from i2crc.runtime.atomic import digest_file, digest_value
from i2crc.runtime.errors import InputError
from i2crc.runtime.log import log
from i2crc.runtime.parser import add_downloads, make_parser, run


def fetch_source(arguments: argparse.Namespace) -> tuple[Path, str]:
    """Fetch the checkpoint; return its file and SHA-256."""
    # The suffix names the format.
    is_safe = arguments.source.partition("?")[0].endswith(".safetensors")
    suffix = ".safetensors" if is_safe else ".pth"
    if arguments.downloads and arguments.sha256:
        sha256 = arguments.sha256.lower()
        return fetch_once(arguments.source, arguments.downloads, sha256, suffix), sha256
    # A file per source, so that a changed source does not find the file of the old one.
    file = arguments.cache / f"{digest_value(arguments.source)[:16]}{suffix}"
    return file, fetch(arguments.source, file, arguments.sha256 or None)


def convert(
    file: Path,
    sha256: str,
    arguments: argparse.Namespace,
    classes: list[str],
    settings: Segmentation,
    origin: Origin,
) -> None:
    """Write the weights of a fetched file, with their metadata and provenance."""
    from i2crc.data.transforms import CAFFE_BGR, IMAGENET
    from i2crc.inference.prediction import load_published
    from i2crc.models.checkpoints import save_weights
    from i2crc.models.pretrained import Pretrained, provenance

    try:
        model = load_published(file, settings, len(classes))
    except InputError as error:
        raise InputError(f"{arguments.source}, fetched to {error}") from error
    preprocessing = CAFFE_BGR if settings.preprocessing == "caffe_bgr" else IMAGENET
    start = Pretrained({}, arguments.source, sha256, preprocessing)
    metadata = {
        "stage": origin.stage,
        "settings": settings.model_dump(),
        **provenance(start, preprocessing, classes),
        "provenance": origin.lasting(arguments.weights),
    }
    save_weights(arguments.weights, model, metadata)
    write_beside(arguments.weights, origin.describe(arguments.weights))


def main(arguments: argparse.Namespace) -> None:
    settings = Segmentation.model_validate_json(arguments.settings)
    classes = read_index(arguments.index).classes
    origin = Origin(Path(__file__), [arguments.index], settings)
    # Of the index, the classes alone matter: other images must not start another transfer.
    path = local_path(arguments.source)
    content = digest_file(path) if path and path.is_file() else ""
    made_from = [arguments.source, arguments.sha256, content, classes]
    fingerprint = digest_value([*origin.key(), *made_from])
    outputs = [arguments.weights, provenance_file(arguments.weights)]
    if restore(fingerprint, outputs):
        log.info("%s: already made", arguments.weights)
        return
    file, sha256 = fetch_source(arguments)
    convert(file, sha256, arguments, classes, settings, origin)
    keep(fingerprint, outputs)
    if not arguments.sha256:
        file.unlink()  # nothing could say later whether it is still what the source has
    log.info("%s: converted, SHA-256 %s", arguments.source, sha256)


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--source", type=hide, required=True, help="URL or path of the checkpoint")
    parser.add_argument("--sha256", default="", help="its SHA-256; empty: not checked")
    parser.add_argument("--settings", default="{}", help="JSON: the section `segmentation`")
    parser.add_argument("--index", type=Path, required=True, help="an index, for the class names")
    parser.add_argument(
        "--cache", type=Path, required=True, help="folder of a transfer, which resumes there"
    )
    add_downloads(parser)
    parser.add_argument("--weights", type=Path, required=True, help="output: weights")
    run(main, parser)
