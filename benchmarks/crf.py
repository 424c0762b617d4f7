"""Dense CRF on one core: ours against pydensecrf with all labels; each turn, another photograph.

With `--device cuda`, ours computes on the GPU, one photograph at a time; pydensecrf on one core.

Ours is measured as in validation, where the classes of a photograph are unknown, and, with 21 and
81 labels, as in training, where they are known.
"""

import os
import runpy
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path

from PIL import Image

import harness
from i2crc.data.index import Entry
from material import Material

TINY = 32
# Number of labels with background, and whether the classes are known.
CASES = ((3, False), (21, False), (21, True), (81, True))

agreement = harness.equal_pixels


def published(material: Material, labels: int) -> harness.Work:
    """Refine the next photographs with all labels."""
    import numpy as np

    import published as plain
    from i2crc.inference.logits import read_logits

    logits, settings, turn = material.logits(labels), material.config.crf, count()
    use_one_core()
    plain.crf_label(np.zeros((TINY, TINY, 3), np.uint8), np.zeros((labels, 2, 2)), settings)

    def work(amount: int, folder: Path) -> None:
        for _ in range(amount):
            entry = chosen(material, labels, next(turn))
            photo = np.asarray(Image.open(entry.image).convert("RGB"))
            label = plain.crf_label(photo, read_logits(logits / f"{entry.id}.npz"), settings)
            Image.fromarray(label).save(folder / f"{entry.id}.png")

    return work


def ours(material: Material, labels: int, known: bool = True) -> harness.Work:
    """Refine the next photographs as a worker of the stage does."""
    import numpy as np

    from i2crc.inference.logits import write_logits

    logits, settings, turn = material.logits(labels), material.config.crf, count()
    refine = runpy.run_path(str(harness.SCRIPTS / "segmentation/crf.py"))["refine"]
    use_one_core()

    def refine_one(entry: Entry, file: Path, folder: Path) -> None:
        entry = entry if known else replace(entry, classes=None)
        refine(settings, {entry.id: entry}, {entry.id: file}, folder, entry.id, material.device)

    # The first one loads or compiles the libraries.
    tiny, file = material.folder / "tiny.png", material.folder / "tiny.npz"
    Image.new("RGB", (TINY, TINY)).save(tiny)
    write_logits(file, np.zeros((labels, 2, 2)))
    first = replace(chosen(material, labels, 0), image=str(tiny), width=TINY, height=TINY)
    refine_one(first, file, material.folder)

    def work(amount: int, folder: Path) -> None:
        for _ in range(amount):
            entry = chosen(material, labels, next(turn))
            refine_one(entry, logits / f"{entry.id}.npz", folder)

    return work


def chosen(material: Material, labels: int, turn: int) -> Entry:
    """Return the photograph of a turn; its classes are below the number of labels."""
    entry = material.entries(turn + 1)[turn]
    if labels > len(material.index.classes):
        return entry
    return replace(entry, classes=list(range(min(len(entry.classes or ()), labels - 1))))


def use_one_core() -> None:
    """Keep this process on one core, because the stage refines a photograph on each."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


if __name__ == "__main__":
    arguments = harness.parser(__doc__).parse_args()
    for labels, known in CASES[:1] if arguments.quick else CASES:
        harness.compare(
            f"crf_{labels}_labels{'_known' * known}",
            arguments,
            partial(published, labels=labels),
            partial(ours, labels=labels, known=known),
            amounts=(0, 1),
            images=arguments.repeats,
            agreement=agreement,
        )
