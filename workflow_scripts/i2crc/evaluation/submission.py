"""The archive of label images that the VOC evaluation server takes."""

import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from i2crc.artifacts.manifest import read_manifests
from i2crc.data.images import UNREADABLE, voc_palette
from i2crc.data.index import Entry, Index
from i2crc.runtime.atomic import atomic_path
from i2crc.runtime.errors import InputError

FOLDER = "results/VOC2012/Segmentation/comp6_test_cls"


def pack_submission(index: Index, manifests: list[Path], output: Path) -> None:
    """Pack the label image of every image of a split, and check the archive.

    Raise InputError if a label image is missing, or the server would refuse one.
    """
    made = read_manifests(manifests)
    labels = {name: path for name, (path, _) in made.items() if path.is_file()}
    missing = [entry.id for entry in index.images if f"{entry.id}.png" not in labels]
    if missing:
        raise InputError(
            f"{len(missing)} images of the split {index.split} have no prediction; predict them "
            f"first: {' '.join(missing)}"
        )
    files = {f"{FOLDER}/{e.id}.png": (e, labels[f"{e.id}.png"]) for e in index.images}
    with atomic_path(output) as temporary:
        write_archive(temporary, {name: file for name, (_, file) in files.items()})
        check_archive(temporary, files, len(index.classes))


def write_archive(path: Path, files: dict[str, Path]) -> None:
    """Write an archive of `files` (name in it -> file); the same files give the same bytes."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, file in sorted(files.items()):
            # ZipInfo has a fixed date and does not compress, which a PNG already is.
            info = zipfile.ZipInfo(name)
            info.external_attr = 0o644 << 16
            archive.writestr(info, file.read_bytes())


def check_archive(path: Path, files: dict[str, tuple[Entry, Path]], num_classes: int) -> None:
    """Read an archive again; raise one InputError with all that the server would refuse.

    `files` is what the archive must hold: name in it -> (image, label file).
    """
    with zipfile.ZipFile(path) as archive:
        if archive.namelist() != sorted(files):
            raise InputError(f"{path}: does not hold the names that were packed; run again")
        problems = [
            f"{file}: {problem}"
            for name, (entry, file) in files.items()
            for problem in label_problems(archive.read(name), entry, num_classes)
        ]
    if problems:
        raise InputError(
            "\n".join([*problems, f"{len(problems)} problems; predict these images again"])
        )


def label_problems(png: bytes, entry: Entry, num_classes: int) -> list[str]:
    """Return what the server would refuse in the label PNG of an image."""
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
