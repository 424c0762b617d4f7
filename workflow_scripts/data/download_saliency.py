"""Fetch the saliency maps, compare them with the photographs, and write them into one folder."""

import argparse
from pathlib import Path

from i2crc.artifacts.hash_cache import HashCache
from i2crc.artifacts.journal import FileRecord
from i2crc.artifacts.kept import keep, restore
from i2crc.artifacts.manifest import damaged_files, write_manifest
from i2crc.artifacts.provenance import Origin
from i2crc.data.index import read_index
from i2crc.runtime import parser as command_line
from i2crc.runtime.addresses import hide
from i2crc.runtime.atomic import digest_value
from i2crc.runtime.errors import InputError, problem_of
from i2crc.runtime.log import log


def make_parser() -> argparse.ArgumentParser:
    parser = command_line.make_parser(__doc__)
    parser.add_argument(
        "--source",
        type=hide,
        required=True,
        help="archive (http, https, s3, file or a path) or folder of the maps",
    )
    parser.add_argument("--sha256", default="", help="SHA-256 of the archive; empty: not checked")
    parser.add_argument(
        "--index", type=Path, nargs="+", required=True, help="indexes of the images that need a map"
    )
    parser.add_argument("--retries", type=int, default=5, help="tries after a broken transfer")
    parser.add_argument(
        "--cache",
        type=Path,
        required=True,
        help="folder of the archive; resumes transfers",
    )
    command_line.add_downloads(parser)
    parser.add_argument("--output", type=Path, required=True, help="output: folder of the maps")
    parser.add_argument("--max-pixels", type=int, default=1 << 27, help="larger maps are refused")
    parser.add_argument("--map-cache", type=Path, help="file that remembers decoded maps")
    parser.add_argument(
        "--files", default="", help="digest of names, sizes and times of the source"
    )
    parser.add_argument("--manifest", type=Path, required=True, help="output: manifest of the maps")
    return parser


def main(arguments: argparse.Namespace) -> None:
    settings = {"source": arguments.source, "sha256": arguments.sha256}
    origin = Origin(Path(__file__), arguments.index, settings)
    fingerprint = digest_value([origin.fingerprint(), arguments.files, arguments.max_pixels])
    made = arguments.files and restore(fingerprint, [arguments.manifest])
    if made and not damaged_files(arguments.manifest):
        log.info("%s: already made", arguments.manifest)
        return
    indexes = [read_index(path) for path in arguments.index]
    # Imported here, because a finished stage must not wait for Pillow.
    from i2crc.data.saliency import fetch_maps, map_sizes

    cache = HashCache(arguments.map_cache, digest_value([origin.code, arguments.max_pixels]))
    digest, files, problems = None, {}, []
    try:
        digest, files, problems = fetch_maps(
            arguments.source,
            map_sizes(indexes),
            arguments.output,
            sha256=arguments.sha256,
            transfers=arguments.cache,
            downloads=arguments.downloads,
            retries=arguments.retries,
            workers=arguments.threads,
            max_pixels=arguments.max_pixels,
            cache=cache,
        )
    except InputError as error:
        problems = [problem_of(error, arguments.source, "see the setting saliency.source")]
    cache.save()
    log.info("maps: %d decoded, %d known from before", cache.decoded, cache.remembered)
    if problems:
        log.warning("preflight will report %d problems, such as: %s", len(problems), problems[0])
    records = {
        f"{image_id}.png": FileRecord(sha, (arguments.output / f"{image_id}.png").stat().st_size)
        for image_id, sha in files.items()
    }
    write_manifest(
        arguments.manifest,
        origin,
        arguments.output,
        records,
        source=arguments.source,
        archive_sha256=digest,
        problems=[vars(problem) for problem in problems],
    )
    if not problems:
        keep(fingerprint, [arguments.manifest])


if __name__ == "__main__":
    command_line.run(main, make_parser())
