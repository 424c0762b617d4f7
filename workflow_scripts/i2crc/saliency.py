"""Gather saliency maps: one 8-bit grey PNG for each photograph, of the photograph's own size."""

import io
import logging
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from i2crc.files import FileError, Problem, digest_bytes, digest_file, write_bytes
from i2crc.findings import Facts, Findings
from i2crc.images import MOST_PIXELS, read_saliency
from i2crc.parallel import map_in_order

log = logging.getLogger("i2crc")

Size = tuple[int, int]  # width, height


def collect(
    source_folder: Path,
    sizes: Mapping[str, Size | None],
    destination: Path,
    *,
    workers: int = 1,
    max_pixels: int = MOST_PIXELS,
    findings: Findings | None = None,
) -> tuple[dict[str, str], list[Problem]]:
    """Put the map of each image at `destination/<id>.png`: {id: SHA-256} sorted by id, problems.

    `sizes` maps ids to the size of the photograph as displayed, None where it is not known. A map
    is the one file named `<id>.png` anywhere under `source_folder`; it has the photograph's size
    and grey values 0..255. Maps stored as grey in another mode are converted. A map is decoded
    unless `findings` remember it.
    """
    maps = _maps(Path(source_folder))
    findings = findings or Findings()

    def place(name: str) -> str | Problem:
        target = Path(destination) / f"{name}.png"
        try:
            source = _one(maps.get(name, []), Path(source_folder), target.name)
            return _place(source, sizes[name], target, findings, max_pixels)
        except FileError as error:
            return error.problem

    names = sorted(sizes)
    placed = dict(zip(names, map_in_order(place, names, workers), strict=True))
    digests = {name: sha for name, sha in placed.items() if isinstance(sha, str)}
    log.info("%s: %d saliency maps", destination, len(digests))
    return digests, [problem for problem in placed.values() if isinstance(problem, Problem)]


def _maps(folder: Path) -> dict[str, list[Path]]:
    """{id: files named `<id>.png`} of everything under `folder`."""
    maps: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.rglob("*.png")):
        maps[path.stem].append(path)
    return maps


def _one(files: list[Path], folder: Path, name: str) -> Path:
    """The only one of `files`, which were found under `folder` as `name`."""
    if not files:
        raise FileError(folder / name, "no such saliency map", "add it: 8-bit grey, 255 = salient")
    if len(files) > 1:
        others = ", ".join(map(str, files[1:]))
        raise FileError(files[0], f"also found as {others}", "leave one of them there")
    return files[0]


def _place(
    source: Path, size: Size | None, target: Path, findings: Findings, max_pixels: int
) -> str:
    """Check a map, write it to `target` unless it is there already, and return its SHA-256."""

    def look(path: Path) -> Facts:
        image = read_saliency(path, max_pixels)
        stored = image.format == "PNG"
        sha = digest_file(path) if stored else digest_bytes(_png(image))
        return {"size": image.size, "stored": stored, "grey_sha256": sha}

    facts = findings.of(source, "saliency", look)
    if size is not None and tuple(facts["size"]) != size:
        raise FileError(
            source,
            "size {}x{}, the photograph has {}x{}".format(*facts["size"], *size),
            "give the map of this photograph, of its size as displayed",
        )
    sha = facts["grey_sha256"]
    if not target.is_file() or digest_file(target) != sha:
        # A grey PNG stays byte for byte what it was.
        stored = facts["stored"]
        write_bytes(target, source.read_bytes() if stored else _png(read_saliency(source)))
    return sha


def _png(image: Image.Image) -> bytes:
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()
