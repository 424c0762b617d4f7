"""Stage download_saliency: fetch the saliency maps, check them against the index, lay them out."""

import argparse
import shutil
from pathlib import Path

from i2crc import archives, console, download, saliency
from i2crc.dataset import read_index
from i2crc.files import InputError, digest_value
from i2crc.manifests import write_manifest
from i2crc.provenance import Origin

MAX_ARCHIVE_BYTES = 16 << 30
MAX_UNPACKED_BYTES = 64 << 30
MAX_MEMBERS = 2_000_000


def make_parser() -> argparse.ArgumentParser:
    parser = console.make_parser(__doc__)
    parser.add_argument(
        "--source", required=True, help="an archive (http, https, file or a path) or a folder"
    )
    parser.add_argument("--sha256", default="", help="the archive's SHA-256")
    parser.add_argument(
        "--index", type=Path, nargs="+", required=True, help="indexes whose images need a map"
    )
    parser.add_argument("--retries", type=int, default=5, help="further tries of a broken transfer")
    parser.add_argument(
        "--cache", type=Path, required=True, help="folder of the archive, kept to resume a transfer"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the maps")
    parser.add_argument("--manifest", type=Path, required=True, help="what was laid out, as JSON")
    return parser


def main(arguments: argparse.Namespace) -> None:
    images = [vars(entry) for index in arguments.index for entry in read_index(index).images]
    local = download.local_path(arguments.source)
    if local is not None and local.is_dir():
        if arguments.sha256:
            raise InputError(f"{local}: a folder has no --sha256; leave it out or give an archive")
        digest = None
        files = saliency.collect(local, images, arguments.output, workers=arguments.threads)
    else:
        archive = arguments.cache / f"saliency-{digest_value(arguments.source)[:16]}"
        digest = download.fetch(
            arguments.source,
            archive,
            arguments.sha256 or None,
            retries=arguments.retries,
            max_bytes=MAX_ARCHIVE_BYTES,
        )
        files = collect_from_archive(archive, images, arguments)
    settings = {"source": arguments.source, "sha256": arguments.sha256}
    write_manifest(
        arguments.manifest,
        Origin(Path(__file__), arguments.index, settings),
        arguments.output,
        {f"{image_id}.png": sha for image_id, sha in files.items()},
        source=arguments.source,
        archive_sha256=digest,
    )


def collect_from_archive(
    archive: Path, images: list[dict], arguments: argparse.Namespace
) -> dict[str, str]:
    unpacked = arguments.cache / "unpacked"
    # A run that was killed may have left it.
    shutil.rmtree(unpacked, ignore_errors=True)
    archives.extract(archive, unpacked, max_bytes=MAX_UNPACKED_BYTES, max_members=MAX_MEMBERS)
    try:
        return saliency.collect(unpacked, images, arguments.output, workers=arguments.threads)
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)


if __name__ == "__main__":
    console.run(main, make_parser())
