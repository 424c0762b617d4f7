"""Stage download_saliency: fetch the saliency maps, check them against the index, lay them out."""

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path

from i2crc import archives, console, download, saliency
from i2crc.addresses import hide
from i2crc.console import log
from i2crc.dataset import read_index
from i2crc.files import InputError, Problem, digest_value, problem_of
from i2crc.findings import Findings
from i2crc.images import MOST_PIXELS
from i2crc.manifests import write_manifest
from i2crc.provenance import Origin

MAX_ARCHIVE_BYTES = 16 << 30
MAX_UNPACKED_BYTES = 64 << 30
# An archive may hold maps of other splits, too.
MEMBERS, MEMBERS_PER_IMAGE = 100_000, 10


def make_parser() -> argparse.ArgumentParser:
    parser = console.make_parser(__doc__)
    parser.add_argument(
        "--source",
        type=hide,
        required=True,
        help="an archive (http, https, s3, file or a path) or a folder",
    )
    parser.add_argument("--sha256", default="", help="the archive's SHA-256")
    parser.add_argument(
        "--index", type=Path, nargs="+", required=True, help="indexes whose images need a map"
    )
    parser.add_argument("--retries", type=int, default=5, help="further tries of a broken transfer")
    parser.add_argument(
        "--cache", type=Path, required=True, help="folder of the archive, kept to resume a transfer"
    )
    console.add_downloads(parser)
    parser.add_argument("--output", type=Path, required=True, help="folder of the maps")
    parser.add_argument(
        "--max-pixels", type=int, default=MOST_PIXELS, help="refuse maps of more pixels"
    )
    parser.add_argument("--findings", type=Path, help="file to remember what maps contain")
    parser.add_argument("--manifest", type=Path, required=True, help="what was laid out, as JSON")
    return parser


def main(arguments: argparse.Namespace) -> None:
    sizes: dict[str, saliency.Size | None] = {}
    for index in map(read_index, arguments.index):
        sizes.update({entry.id: (entry.width, entry.height) for entry in index.images})
        # The photograph is no use, but the map may have a problem of its own.
        sizes.update(dict.fromkeys(index.left_out))
    settings = {"source": arguments.source, "sha256": arguments.sha256}
    origin = Origin(Path(__file__), arguments.index, settings)
    findings = Findings(arguments.findings, digest_value([origin.key()[0], arguments.max_pixels]))
    digest, files, problems = None, {}, []
    try:
        digest, files, problems = gather(sizes, findings, arguments)
    except InputError as error:
        problems = [problem_of(error, arguments.source, "see the setting saliency.source")]
    findings.save()
    log.info("%d maps decoded, %d known from before", findings.decoded, findings.remembered)
    for problem in problems[:1]:
        log.warning("%d problems, for preflight to report; first: %s", len(problems), problem)
    write_manifest(
        arguments.manifest,
        origin,
        arguments.output,
        {f"{image_id}.png": sha for image_id, sha in files.items()},
        source=arguments.source,
        archive_sha256=digest,
        problems=[vars(problem) for problem in problems],
    )


def gather(
    sizes: dict[str, saliency.Size | None], findings: Findings, arguments: argparse.Namespace
) -> tuple[str | None, dict[str, str], list[Problem]]:
    """The archive's SHA-256 (None for a folder), the maps that were laid out, and the problems."""
    collect = partial(
        saliency.collect,
        sizes=sizes,
        destination=arguments.output,
        workers=arguments.threads,
        max_pixels=arguments.max_pixels,
        findings=findings,
    )
    local = download.local_path(arguments.source)
    if local is not None and local.is_dir():
        if arguments.sha256:
            raise InputError(f"{local}: a folder has no --sha256; leave it out or give an archive")
        return None, *collect(local)
    limits = {"retries": arguments.retries, "max_bytes": MAX_ARCHIVE_BYTES}
    if arguments.downloads and arguments.sha256:
        digest = arguments.sha256.lower()
        archive = download.fetch_once(arguments.source, arguments.downloads, digest, **limits)
    else:
        archive = arguments.cache / f"saliency-{digest_value(arguments.source)[:16]}"
        digest = download.fetch(arguments.source, archive, arguments.sha256 or None, **limits)
    unpacked = arguments.cache / "unpacked"
    # A run that was killed may have left it.
    archives.remove(unpacked)
    members = MEMBERS + MEMBERS_PER_IMAGE * len(sizes)
    archives.extract(archive, unpacked, max_bytes=MAX_UNPACKED_BYTES, max_members=members)
    try:
        files, problems = collect(unpacked)
    finally:
        archives.remove(unpacked)
    # The folder is gone; its files are known by their names in the archive.
    inside = [
        replace(one, file=one.file.replace(f"{unpacked}/", f"{arguments.source}: "))
        for one in problems
    ]
    return digest, files, inside


if __name__ == "__main__":
    console.run(main, make_parser())
