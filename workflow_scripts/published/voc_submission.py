"""Pack the predictions of a test split into the archive that the VOC evaluation server takes."""

import argparse
import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from i2crc.artifacts.manifest import read_manifests
from i2crc.artifacts.provenance import Origin, write_beside
from i2crc.data.images import UNREADABLE, voc_palette
from i2crc.data.index import Entry, read_index
from i2crc.runtime.atomic import atomic_path
from i2crc.runtime.errors import InputError
from i2crc.runtime.log import log
from i2crc.runtime.parser import make_parser, run

FOLDER = "results/VOC2012/Segmentation/comp6_test_cls"


def write_archive(path: Path, files: dict[str, Path]) -> None:
    """Write `files` (name in the archive -> file), byte for byte the same for the same files."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, file in sorted(files.items()):
            # ZipInfo's own date is fixed, and it stores: a PNG is compressed already.
            info = zipfile.ZipInfo(name)
            info.external_attr = 0o644 << 16
            archive.writestr(info, file.read_bytes())


def label_problems(png: bytes, entry: Entry, num_classes: int) -> list[str]:
    """What the server would not take in the label PNG of an image."""
    try:
        image = Image.open(io.BytesIO(png))
        image.load()
    except UNREADABLE as error:
        return [f"cannot be decoded ({error})"]
    if image.mode != "P" or image.getpalette() != voc_palette().ravel().tolist():
        return [f"mode {image.mode}, expected a palette PNG in the VOC colours"]
    problems = []
    if image.size != (entry.width, entry.height):
        problems.append(f"size {image.size}, the photograph has {(entry.width, entry.height)}")
    highest = np.asarray(image).max()
    if highest > num_classes:
        problems.append(f"value {highest}, labels are 0 to {num_classes}")
    return problems


def check_archive(path: Path, files: dict[str, tuple[Entry, Path]], num_classes: int) -> None:
    """Read an archive again; all that the server would not take is one InputError.

    `files` are what it is to hold: name in the archive -> (image, label file).
    """
    with zipfile.ZipFile(path) as archive:
        if archive.namelist() != sorted(files):
            raise InputError(f"{path}: holds other names than it was given; run again")
        problems = [
            f"{file}: {problem}"
            for name, (entry, file) in files.items()
            for problem in label_problems(archive.read(name), entry, num_classes)
        ]
    if problems:
        raise InputError(
            "\n".join([*problems, f"{len(problems)} problems; predict these images again"])
        )


def main(arguments: argparse.Namespace) -> None:
    index = read_index(arguments.index)
    made = read_manifests(arguments.manifests)
    labels = {name: path for name, (path, _) in made.items() if path.is_file()}
    missing = [entry.id for entry in index.images if f"{entry.id}.png" not in labels]
    if missing:
        raise InputError(
            f"{arguments.index}: images without a prediction: {len(missing)}; "
            f"predict them first: {' '.join(missing)}"
        )
    files = {f"{FOLDER}/{e.id}.png": (e, labels[f"{e.id}.png"]) for e in index.images}
    with atomic_path(arguments.output) as temporary:
        write_archive(temporary, {name: file for name, (_, file) in files.items()})
        check_archive(temporary, files, len(index.classes))
    origin = Origin(Path(__file__), inputs=[arguments.index, *arguments.manifests])
    write_beside(arguments.output, origin.describe(arguments.output))
    log.info("%s: %d label images, checked", arguments.output, len(files))


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--index", type=Path, required=True, help="index of the test split")
    parser.add_argument(
        "--manifests", type=Path, nargs="+", required=True, help="of the predicted labels"
    )
    parser.add_argument("--output", type=Path, required=True, help="output: zip archive")
    run(main, parser)
