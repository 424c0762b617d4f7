"""Fetch a published segmentation checkpoint and convert it to this project's weight format."""

import argparse
from pathlib import Path

from i2crc.artifacts.kept import make_once
from i2crc.artifacts.provenance import Origin
from i2crc.config.schema import Segmentation
from i2crc.data.index import read_index
from i2crc.fetch.sources import local_path
from i2crc.runtime.addresses import hide
from i2crc.runtime.atomic import digest_file, digest_value
from i2crc.runtime.errors import InputError
from i2crc.runtime.log import log
from i2crc.runtime.parser import make_parser, run


def main(arguments: argparse.Namespace) -> None:
    source, sha256 = arguments.source, arguments.sha256.lower()
    settings = Segmentation.model_validate_json(arguments.settings)
    # Of the index, the classes alone matter: other images must not start another transfer.
    classes = read_index(arguments.index).classes
    origin = Origin(Path(__file__), [], settings)

    def make() -> list[None]:
        from i2crc.fetch.download import fetch

        # The suffix names the format.
        suffix = Path(source.partition("?")[0]).suffix
        file = arguments.cache / f"{sha256 or digest_value(source)[:16]}{suffix}"
        fetched = fetch(source, file, sha256)

        # Imported here, because a failed transfer must not wait for torch.
        from i2crc.data.transforms import CAFFE_BGR, IMAGENET
        from i2crc.inference.prediction import load_published
        from i2crc.models.pretrained import Pretrained, provenance
        from i2crc.models.weight_files import save_weights

        try:
            model = load_published(file, settings, len(classes))
        except InputError as error:
            raise InputError(f"{source}, fetched to {error}") from error
        preprocessing = CAFFE_BGR if settings.preprocessing == "caffe_bgr" else IMAGENET
        metadata = {
            "stage": origin.stage,
            "settings": settings.model_dump(),
            **provenance(Pretrained({}, source, fetched, preprocessing), preprocessing, classes),
            "provenance": origin.lasting(arguments.weights),
        }
        save_weights(arguments.weights, model, metadata)
        if not sha256:
            file.unlink()  # nothing could say later whether it is still what the source has
        log.info("%s: converted, SHA-256 %s", source, fetched)
        return [None]

    path = local_path(source)
    content = digest_file(path) if path and path.is_file() else ""
    make_once(origin, [arguments.weights], make, [source, sha256, content, classes])


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--source", type=hide, required=True, help="URL or path of the checkpoint")
    parser.add_argument("--sha256", default="", help="its SHA-256; empty: not checked")
    parser.add_argument("--settings", default="{}", help="JSON: the section `segmentation`")
    parser.add_argument("--index", type=Path, required=True, help="an index, for the class names")
    parser.add_argument(
        "--cache", type=Path, required=True, help="folder of the fetched file; resumes transfers"
    )
    parser.add_argument("--weights", type=Path, required=True, help="output: weights")
    run(main, parser)
