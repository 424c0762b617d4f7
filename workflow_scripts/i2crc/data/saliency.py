"""Collect saliency maps: one 8-bit grey PNG per photograph, of the size of the photograph."""

import io
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from PIL import Image

from i2crc.artifacts.journal import FileRecord
from i2crc.data.images import IGNORE, MOST_PIXELS, read_label, read_saliency, resize_nearest
from i2crc.data.index import Index
from i2crc.fetch.archives import extract, remove
from i2crc.fetch.download import fetch
from i2crc.fetch.sources import local_path
from i2crc.runtime.atomic import digest_bytes, digest_value, write_bytes
from i2crc.runtime.errors import FileError, InputError, Problem
from i2crc.runtime.parallel import map_in_order

Size = tuple[int, int]  # width, height
# Grey value from which a pixel counts as salient where maps are judged.
SALIENT = 128
MAX_ARCHIVE_BYTES = 16 << 30
MAX_UNPACKED_BYTES = 64 << 30
ADD_MAP = (
    "add it: 8-bit grey, 255 = salient; or let a network compute all maps: saliency.source: model"
)
# The most members of an archive, which may also hold maps of other splits.
MEMBERS, MEMBERS_PER_IMAGE = 100_000, 10


def map_sizes(index: Index) -> dict[str, tuple[Size, ...]]:
    """Return the sizes (width, height) that the map of each photograph may have; () for any.

    The first is the size that it gets: that of the working copy, if there is one.
    """
    # The photographs left out have problems; their maps may have problems, too.
    sizes: dict[str, tuple[Size, ...]] = dict.fromkeys(index.left_out, ())
    equal: dict[tuple[Size, ...], tuple[Size, ...]] = {}  # a million photographs have few sizes
    for entry in index.images:
        own = entry.size, entry.own_size
        sizes[entry.id] = equal.setdefault(own, own)
    return sizes


def fetch_folder(
    source: str, sha256: str, cache: Path, unpacked: Path, images: int, retries: int
) -> tuple[Path, str | None]:
    """Return the folder of the maps, and the SHA-256 of their archive (None for a folder).

    An archive (address or path) is fetched into the folder `cache` and unpacked to the new folder
    `unpacked`. One with a known `sha256` is named by it. `images` is how many maps are needed.
    Raise InputError if the source is missing, or not what it should be.
    """
    local = local_path(source)
    if local is not None and local.is_dir():
        if sha256:
            raise InputError(f"{local}: a folder has no --sha256; leave it out or give an archive")
        return local, None
    archive = cache / (sha256.lower() or f"saliency-{digest_value(source)[:16]}")
    digest = fetch(source, archive, sha256, retries=retries, max_bytes=MAX_ARCHIVE_BYTES)
    remove(unpacked)  # left by a killed run
    members = MEMBERS + MEMBERS_PER_IMAGE * images
    extract(archive, unpacked, max_bytes=MAX_UNPACKED_BYTES, max_members=members)
    return unpacked, digest


def collect(
    source: Path,
    sizes: Mapping[str, Sequence[Size]],
    destination: Path,
    workers: int = 1,
    max_pixels: int = MOST_PIXELS,
    masks: Mapping[str, str] = MappingProxyType({}),
) -> tuple[dict[str, FileRecord], list[Problem], dict[str, Any]]:
    """Write the map of each image to `destination/<id>.png`.

    Return the record of each written file by its name, sorted, the problems, and the summary of
    `MapFacts`. `sizes` are `map_sizes`. A map is the only file named `<id>.png` anywhere under the
    folder `source`. It has one of its sizes and grey values 0..255. A grey PNG of the first size is
    copied unchanged; others are converted. `masks` maps ids to ground truth.
    """
    maps: dict[str, list[str]] = {}  # name -> the folders where it is
    for folder, _, names in os.walk(source):
        for name in names:
            maps.setdefault(name, []).append(folder)

    facts = MapFacts()

    def place(image_id: str) -> FileRecord | Problem:
        name = f"{image_id}.png"
        try:
            parts = Path(name).parts  # the id of a photograph in a sub-folder has a /
            paths = [Path(folder, parts[-1]) for folder in maps.get(parts[-1], ())]
            found = sorted(path for path in paths if path.parts[-len(parts) :] == parts)
            # Those of photographs in sub-folders that have the same name are not its own.
            own = {path: path.relative_to(source).with_suffix("").as_posix() for path in found}
            found = [path for path in found if own[path] == image_id or own[path] not in sizes]
            image, content = _checked_map(found or [source / name], sizes[image_id], max_pixels)
            truth = None
            if image_id in masks:
                truth = resize_nearest(read_label(Path(masks[image_id])), image.size)
        except FileError as error:
            return error.problem
        facts.add(name, np.asarray(image), truth)
        record = FileRecord(digest_bytes(content), len(content))
        if not record.matches(destination / name):
            write_bytes(destination / name, content)
        return record

    ids = sorted(sizes)
    placed = dict(zip(ids, map_in_order(place, ids, workers), strict=True))
    files = {f"{name}.png": one for name, one in placed.items() if isinstance(one, FileRecord)}
    problems = [one for one in placed.values() if isinstance(one, Problem)]
    return files, problems, facts.summary()


@dataclass
class MapFacts:
    """Facts about saliency maps, by which preflight judges them; threads may add maps."""

    maximum: int = 0
    constant: list[str] = field(default_factory=list)
    compared: int = 0
    without_overlap: list[str] = field(default_factory=list)
    # Sums over the maps of (2, 2) counts.
    overlap: np.ndarray = field(default_factory=lambda: np.zeros((2, 2), np.int64))
    zones: np.ndarray = field(default_factory=lambda: np.zeros((2, 2), np.int64))
    mask_zones: np.ndarray = field(default_factory=lambda: np.zeros((2, 2), np.int64))
    lock: Any = field(default_factory=threading.Lock)

    def add(self, name: str, grey: np.ndarray, truth: np.ndarray | None = None) -> None:
        """Look at an (H, W) uint8 map, and at the ground truth of its photograph."""
        low, high = int(grey.min()), int(grey.max())
        zones = _zones(grey >= SALIENT)
        with self.lock:
            self.maximum = max(self.maximum, high)
            if low == high:
                self.constant.append(name)
                return
            self.zones += zones
        if truth is not None:
            overlap = _overlap(grey >= SALIENT, truth)
            mask_zones = _zones((truth != 0) & (truth != IGNORE))
            with self.lock:
                self.compared += 1
                self.overlap += overlap
                self.mask_zones += mask_zones
                if overlap[1].any() and not overlap[1, 1]:
                    self.without_overlap.append(name)

    def summary(self) -> dict[str, Any]:
        """Return the highest value of all maps ("maximum") and the names of the "constant" ones.

        The other maps count in the rest: how many were "compared" with masks, which are salient
        nowhere on the objects ("without_overlap"), the salient share of objects, background, border
        and centre, and the share of objects at the border ("masked_border").
        """
        background, objects = _shares(self.overlap)
        border, centre = _shares(self.zones)
        return {
            "maximum": self.maximum,
            "constant": sorted(self.constant),
            "compared": self.compared,
            "without_overlap": sorted(self.without_overlap),
            "salient_objects": objects,
            "salient_background": background,
            "salient_border": border,
            "salient_centre": centre,
            "masked_border": _shares(self.mask_zones)[0],
        }


def _overlap(salient: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return (2, 2) counts of pixels [is on an object, is salient], without those of 255."""
    known = truth != IGNORE
    pairs = 2 * (truth[known] != 0) + salient[known]
    return np.bincount(pairs, minlength=4).reshape(2, 2)


def _zones(shown: np.ndarray) -> np.ndarray:
    """Return (2, 2) counts of pixels [is in the centre, is shown] of an (H, W) array of bool.

    Of each side, the border is the outer tenth, and the centre the middle half.
    """
    height, width = shown.shape
    y, x = -(-height // 10), -(-width // 10)
    at_border = np.ones_like(shown)
    at_border[y : height - y, x : width - x] = False
    centre = shown[height // 4 : height - height // 4, width // 4 : width - width // 4]
    return np.array([np.bincount(part.ravel(), minlength=2) for part in (shown[at_border], centre)])


def _shares(counts: np.ndarray) -> tuple[float, float]:
    """Return the shares of shown pixels in both rows of (2, 2) counts."""
    first, second = counts[:, 1] / np.maximum(counts.sum(axis=1), 1)
    return float(first), float(second)


def _checked_map(
    files: list[Path], sizes: Sequence[Size], max_pixels: int
) -> tuple[Image.Image, bytes]:
    """Return the map in the only file, and it as a PNG; raise FileError for anything wrong."""
    file = files[0]
    if not file.is_file():
        raise FileError(file, "no such saliency map", ADD_MAP)
    if len(files) > 1:
        others = ", ".join(map(str, files[1:]))
        raise FileError(file, f"also found as {others}", "leave one of them there")
    image = read_saliency(file, max_pixels)
    if sizes and image.size not in sizes:
        problem = "size {}x{}, the photograph has {}x{}".format(*image.size, *sizes[-1])
        raise FileError(file, problem, "give the map of this photograph, of its size as displayed")
    if sizes and image.size != sizes[0]:
        image = image.resize(sizes[0], Image.Resampling.BOX)
    if image.format == "PNG":
        return image, file.read_bytes()
    png = io.BytesIO()
    image.save(png, "PNG")
    return image, png.getvalue()
