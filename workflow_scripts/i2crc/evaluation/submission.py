"""The archive of label images that the VOC evaluation server takes."""

import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from i2crc.artifacts.manifest import read_manifests
from i2crc.data.images import UNREADABLE, voc_palette
from i2crc.data.index import Entry, Index
from i2crc.runtime.errors import InputError, counted

FOLDER = "results/VOC2012/Segmentation/comp6_test_cls"


def pack_submission(index: Index, manifests: list[Path]) -> bytes:
    """Return a zip of the label image of every image of a split; the same labels, the same bytes.

    Raise one InputError with all that the server would refuse: missing and wrong label images.
    """
    labels = {name: path for name, (path, _) in read_manifests(manifests).items()}
    content, problems = io.BytesIO(), []
    with zipfile.ZipFile(content, "w") as archive:
        for entry in sorted(index.images, key=lambda entry: entry.id):
            name = f"{entry.id}.png"
            path = labels.get(name, Path(name))
            problem = label_problem(path, entry, len(index.classes))
            if problem:
                problems.append(f"{path}: {problem}")
                continue
            # ZipInfo has a fixed date and does not compress, which a PNG already is.
            info = zipfile.ZipInfo(f"{FOLDER}/{name}")
            info.external_attr = 0o644 << 16
            archive.writestr(info, path.read_bytes())
    if problems:
        count = counted(len(problems), "problem")
        raise InputError("\n".join([*problems, f"{count}; predict these again"]))
    return content.getvalue()


def label_problem(path: Path, entry: Entry, num_classes: int) -> str:
    """Return what the server would refuse in the label PNG of an image; "" if nothing."""
    if not path.is_file():
        return "no prediction"
    try:
        image = Image.open(path)
        image.load()
    except UNREADABLE as error:
        return f"cannot be decoded ({error})"
    if image.mode != "P" or image.getpalette() != voc_palette().ravel().tolist():
        return f"mode {image.mode}, expected a palette PNG in the VOC colours"
    if image.size != entry.own_size:
        return f"size {image.size}, the photograph has {entry.own_size}"
    highest = np.asarray(image).max()
    return f"value {highest}, labels are 0 to {num_classes}" if highest > num_classes else ""
