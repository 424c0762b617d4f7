"""Fetch the saliency maps, compare them with the photographs, and write them into one folder."""

import argparse
import time
from dataclasses import replace
from pathlib import Path

from i2crc.artifacts.kept import make_once
from i2crc.artifacts.provenance import Origin
from i2crc.data.index import read_index
from i2crc.fetch.sources import local_path
from i2crc.runtime.addresses import hide
from i2crc.runtime.atomic import digest_file
from i2crc.runtime.errors import InputError, counted, problem_of
from i2crc.runtime.log import log
from i2crc.runtime.parser import make_parser, run


def main(arguments: argparse.Namespace) -> None:
    source, sha256 = arguments.source, arguments.sha256
    maps = arguments.manifest.with_name("maps")
    origin = Origin(Path(__file__), [arguments.index], {"source": source, "sha256": sha256})

    def make() -> list[dict]:
        index = read_index(arguments.index)
        # Imported here, because a finished stage must not wait for Pillow.
        from i2crc.data.saliency import collect, fetch_folder, map_sizes
        from i2crc.fetch.archives import remove

        sizes, digest, files, facts = map_sizes(index), None, {}, {}
        masks = {entry.id: entry.mask for entry in index.images if entry.mask}
        del index  # there may be a million photographs
        unpacked = maps.with_name("unpacked")
        try:
            folder, digest = fetch_folder(
                source, sha256, arguments.cache, unpacked, len(sizes), arguments.retries
            )
            files, problems, facts = collect(
                folder, sizes, maps, arguments.threads, arguments.max_pixels, masks
            )
        except InputError as error:
            problems = [problem_of(error, source, "see the setting saliency.location")]
        finally:
            remove(unpacked)
        # The folder is gone, so name the files by their place in the archive.
        problems = [
            replace(p, file=p.file.replace(f"{unpacked}/", f"{source}: ")) for p in problems
        ]
        log.info("%s", counted(len(files), "saliency map"))
        if problems:
            log.warning("preflight will report %s", counted(len(problems), "problem"))
        manifest = {
            "stage": origin.stage,
            "folder": maps.name,
            "count": len(files),
            "source": source,
            "archive_sha256": digest,
            "problems": [vars(problem) for problem in problems],
            **facts,
            "files": {name: record.sha256 for name, record in files.items()},
            "sizes": {name: record.bytes for name, record in files.items()},
        }
        return [manifest]

    known = arguments.files or sha256
    if not known:
        archive = local_path(source)
        # Of a source elsewhere, nobody knows whether it has changed.
        known = digest_file(archive) if archive and archive.is_file() else str(time.time())
    make_once(origin, [arguments.manifest], make, [known, arguments.max_pixels])


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument(
        "--source",
        type=hide,
        required=True,
        help="archive (http, https, s3, file or a path) or folder of the maps",
    )
    parser.add_argument("--sha256", default="", help="SHA-256 of the archive; empty: not checked")
    parser.add_argument(
        "--index", type=Path, required=True, help="index of the images that need a map"
    )
    parser.add_argument("--retries", type=int, default=5, help="tries after a broken transfer")
    parser.add_argument(
        "--cache", type=Path, required=True, help="folder of the archive; resumes transfers"
    )
    parser.add_argument("--max-pixels", type=int, default=1 << 27, help="larger maps are refused")
    parser.add_argument(
        "--files", default="", help="digest of names, sizes and times of the source"
    )
    parser.add_argument(
        "--manifest", type=Path, required=True, help="output: manifest; the maps are beside it"
    )
    run(main, parser)
