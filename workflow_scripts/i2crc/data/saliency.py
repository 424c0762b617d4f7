"""Collect saliency maps: one 8-bit grey PNG per photograph, of the size of the photograph."""

import io
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from PIL import Image

from i2crc.artifacts.hash_cache import FileFacts, HashCache
from i2crc.data.images import MOST_PIXELS, read_saliency
from i2crc.data.index import Index
from i2crc.fetch.archives import extract, remove
from i2crc.fetch.download import fetch, fetch_once
from i2crc.fetch.sources import local_path
from i2crc.runtime.atomic import digest_bytes, digest_file, digest_value, write_bytes
from i2crc.runtime.errors import FileError, InputError, Problem
from i2crc.runtime.parallel import map_in_order

log = logging.getLogger("i2crc")

Size = tuple[int, int]  # width, height
MAX_ARCHIVE_BYTES = 16 << 30
MAX_UNPACKED_BYTES = 64 << 30
# The most members of an archive, which may also hold maps of other splits.
MEMBERS, MEMBERS_PER_IMAGE = 100_000, 10


def map_sizes(indexes: Iterable[Index]) -> dict[str, Size | None]:
    """Return the (width, height) of each photograph that needs a map; None if it is unknown."""
    sizes: dict[str, Size | None] = {}
    for index in indexes:
        sizes.update({entry.id: (entry.width, entry.height) for entry in index.images})
        # These photographs have problems; their maps may have problems, too.
        sizes.update(dict.fromkeys(index.left_out))
    return sizes


def fetch_maps(
    source: str,
    sizes: Mapping[str, Size | None],
    destination: Path,
    *,
    sha256: str,
    transfers: Path,
    downloads: Path | None,
    retries: int,
    workers: int,
    max_pixels: int,
    cache: HashCache,
) -> tuple[str | None, dict[str, str], list[Problem]]:
    """Fetch the maps from an archive (address or path) or a folder, then `collect` them.

    Return the SHA-256 of the archive (None for a folder), the SHA-256 of each collected map by its
    id, and the problems. An archive with a known `sha256` is shared in `downloads`. Another one is
    in `transfers`, where a broken transfer is resumed. Raise InputError if the source is missing.
    """

    def collected(folder: Path) -> tuple[dict[str, str], list[Problem]]:
        return collect(
            folder, sizes, destination, workers=workers, max_pixels=max_pixels, cache=cache
        )

    local = local_path(source)
    if local is not None and local.is_dir():
        if sha256:
            raise InputError(f"{local}: a folder has no --sha256; leave it out or give an archive")
        return None, *collected(local)
    archive, digest = fetch_archive(source, transfers, downloads, sha256, retries)
    unpacked = transfers / "unpacked"
    remove(unpacked)  # left by a killed run
    members = MEMBERS + MEMBERS_PER_IMAGE * len(sizes)
    extract(archive, unpacked, max_bytes=MAX_UNPACKED_BYTES, max_members=members)
    try:
        files, problems = collected(unpacked)
    finally:
        remove(unpacked)
    # The folder is gone, so name the files by their place in the archive.
    inside = [
        replace(one, file=one.file.replace(f"{unpacked}/", f"{source}: ")) for one in problems
    ]
    return digest, files, inside


def fetch_archive(
    source: str, transfers: Path, downloads: Path | None, sha256: str, retries: int
) -> tuple[Path, str]:
    """Fetch the archive of an address or path; return its path here and its SHA-256."""
    if downloads and sha256:
        digest = sha256.lower()
        archive = fetch_once(
            source, downloads, digest, retries=retries, max_bytes=MAX_ARCHIVE_BYTES
        )
        return archive, digest
    archive = transfers / f"saliency-{digest_value(source)[:16]}"
    digest = fetch(source, archive, sha256 or None, retries=retries, max_bytes=MAX_ARCHIVE_BYTES)
    return archive, digest


def collect(
    source_folder: Path,
    sizes: Mapping[str, Size | None],
    destination: Path,
    *,
    workers: int = 1,
    max_pixels: int = MOST_PIXELS,
    cache: HashCache | None = None,
) -> tuple[dict[str, str], list[Problem]]:
    """Write the map of each image to `destination/<id>.png`.

    Return the SHA-256 of each map by its id, sorted, and the problems. `sizes` maps ids to the
    (width, height) of the upright photograph; None if it is unknown. A map is the only file named
    `<id>.png` anywhere under `source_folder`. It has the size of the photograph and grey values
    0..255. Grey in another mode is converted. A map is decoded unless `cache` remembers it.
    """
    maps = _maps(Path(source_folder))
    cache = cache or HashCache()

    def place(name: str) -> str | Problem:
        target = Path(destination) / f"{name}.png"
        try:
            source = _one(maps.get(name, []), Path(source_folder), target.name)
            return _place(source, sizes[name], target, cache, max_pixels)
        except FileError as error:
            return error.problem

    names = sorted(sizes)
    placed = dict(zip(names, map_in_order(place, names, workers), strict=True))
    digests = {name: sha for name, sha in placed.items() if isinstance(sha, str)}
    log.info("%s: %d saliency maps", destination, len(digests))
    return digests, [problem for problem in placed.values() if isinstance(problem, Problem)]


def _maps(folder: Path) -> dict[str, list[Path]]:
    """Return the files named `<id>.png` anywhere under `folder`, by id."""
    maps: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.rglob("*.png")):
        maps[path.stem].append(path)
    return maps


def _one(files: list[Path], folder: Path, name: str) -> Path:
    """Return the only file `name` under `folder`; raise FileError if there are none or several."""
    if not files:
        raise FileError(folder / name, "no such saliency map", "add it: 8-bit grey, 255 = salient")
    if len(files) > 1:
        others = ", ".join(map(str, files[1:]))
        raise FileError(files[0], f"also found as {others}", "leave one of them there")
    return files[0]


def _place(source: Path, size: Size | None, target: Path, cache: HashCache, max_pixels: int) -> str:
    """Check a map, write it to `target` unless it is already there, and return its SHA-256."""

    def look(path: Path) -> FileFacts:
        image = read_saliency(path, max_pixels)
        stored = image.format == "PNG"
        sha = digest_file(path) if stored else digest_bytes(_png(image))
        return {"size": image.size, "stored": stored, "grey_sha256": sha}

    facts = cache.facts(source, "saliency", look)
    if size is not None and tuple(facts["size"]) != size:
        raise FileError(
            source,
            "size {}x{}, the photograph has {}x{}".format(*facts["size"], *size),
            "give the map of this photograph, of its size as displayed",
        )
    sha = facts["grey_sha256"]
    if not target.is_file() or digest_file(target) != sha:
        # A grey PNG is copied unchanged.
        stored = facts["stored"]
        write_bytes(target, source.read_bytes() if stored else _png(read_saliency(source)))
    return sha


def _png(image: Image.Image) -> bytes:
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()
