"""Gather saliency maps: one 8-bit grey PNG for each photograph, of the photograph's own size."""

import io
import logging
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import ExifTags, Image, ImageChops

from i2crc.files import InputError, digest_bytes, write_bytes
from i2crc.images import FORMATS, UNREADABLE

log = logging.getLogger("i2crc")

SHOWN_PROBLEMS = 50
TRANSPOSED = (5, 6, 7, 8)
COLOUR_MODES = ("P", "PA", "RGB", "RGBA", "LA")
GREY_MODES = ("L", "1")


class _MapError(Exception):
    """What is wrong with one map; becomes a line of the report."""


def collect(
    source_folder: Path, images: list[dict], destination: Path, *, workers: int = 1
) -> dict[str, str]:
    """Put the map of each image at `destination/<id>.png`; return {id: SHA-256}, sorted by id.

    `images` are entries with "id" and "image", the photograph's path. A map is the one file named
    `<id>.png` anywhere under `source_folder`; it has the photograph's size as displayed (after
    EXIF transposition) and grey values 0..255. Maps stored as grey in another mode are converted.
    All problems together are one InputError; `problems.txt` beside `destination` lists them all.
    """
    report = Path(destination).parent / "problems.txt"
    report.unlink(missing_ok=True)
    photographs, problems = _photographs(images)
    maps = _maps(Path(source_folder))

    def place(name: str) -> str:
        return _place(maps.get(name, []), photographs[name], Path(destination) / f"{name}.png")

    digests = {}
    with ThreadPoolExecutor(workers) as pool:
        tasks = {name: pool.submit(place, name) for name in sorted(photographs)}
        for name, task in tasks.items():
            try:
                digests[name] = task.result()
            except _MapError as problem:
                problems.append(f"{name}: {problem}")
    if problems:
        raise _reported(problems, len(images), Path(source_folder), report)
    log.info("%s: %d saliency maps", destination, len(digests))
    return digests


def _photographs(images: list[dict]) -> tuple[dict[str, Path], list[str]]:
    """{id: photograph}, and a problem for each id that names two photographs."""
    photographs: dict[str, Path] = {}
    problems = []
    for entry in images:
        photograph = Path(entry["image"])
        first = photographs.setdefault(entry["id"], photograph)
        if first != photograph:
            problems.append(f"{entry['id']}: {photograph}: the index has {first} for this id too")
    return photographs, problems


def _maps(folder: Path) -> dict[str, list[Path]]:
    """{id: files named `<id>.png`} of everything under `folder`."""
    maps: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.rglob("*.png")):
        maps[path.stem].append(path)
    return maps


def _place(files: list[Path], photograph: Path, target: Path) -> str:
    """Check the one map in `files`, write it to `target` and return its SHA-256."""
    if not files:
        raise _MapError(f"{target.name}: missing")
    if len(files) > 1:
        raise _MapError(f"{', '.join(map(str, files))}: more than one file")
    size = _displayed_size(photograph)
    try:
        data = _grey_png(files[0].read_bytes(), size)
    except _MapError as problem:
        raise _MapError(f"{files[0]}: {problem}") from problem
    except UNREADABLE as error:
        raise _MapError(f"{files[0]}: unreadable ({error})") from error
    write_bytes(target, data)
    return digest_bytes(data)


def _displayed_size(photograph: Path) -> tuple[int, int]:
    """(width, height) after EXIF transposition, from the header alone."""
    try:
        with Image.open(photograph, formats=FORMATS) as image:
            width, height = image.size
            turned = image.getexif().get(ExifTags.Base.Orientation) in TRANSPOSED
    except UNREADABLE as error:
        raise _MapError(f"{photograph}: unreadable photograph ({error})") from error
    return (height, width) if turned else (width, height)


def _grey_png(data: bytes, size: tuple[int, int]) -> bytes:
    """`data` itself where it is an 8-bit grey PNG of `size`, else its conversion to one."""
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        # Before decoding, so that a small file that claims to be huge costs nothing.
        if image.size != size:
            sizes = "{}x{} against {}x{}".format(*image.size, *size)
            raise _MapError(f"size {sizes} of the photograph")
        image.load()
        if image.mode == "L" and image.format == "PNG":
            return data
        converted = io.BytesIO()
        _grey(image).save(converted, "PNG")
    return converted.getvalue()


def _grey(image: Image.Image) -> Image.Image:
    """The mode L image of the same grey values."""
    if image.mode in GREY_MODES:
        return image.convert("L")
    if image.mode not in COLOUR_MODES:
        raise _MapError(f"mode {image.mode}, not 8-bit grey")
    red, green, blue, alpha = image.convert("RGBA").split()
    if alpha.getextrema() != (255, 255):
        raise _MapError("transparent, not plain grey")
    if any(ImageChops.difference(red, other).getbbox() for other in (green, blue)):
        raise _MapError("colour, not grey")
    return red


def _reported(problems: list[str], count: int, source: Path, report: Path) -> InputError:
    """Write every problem to `report`; return the error that shows the first ones."""
    write_bytes(report, ("\n".join(problems) + "\n").encode())
    shown = problems[:SHOWN_PROBLEMS]
    if len(problems) > len(shown):
        shown.append(f"... and {len(problems) - len(shown)} more")
    return InputError(
        f"{source}: {len(problems)} problem{'s' * (len(problems) > 1)} with the saliency maps of "
        f"{count} images:\n  "
        + "\n  ".join(shown)
        + f"\nThe full list is in {report}. Give a source with one 8-bit grey <id>.png for each "
        "image, of the image's own size"
    )
