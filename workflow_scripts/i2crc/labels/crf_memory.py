"""How much memory the dense CRF takes, and how many of its worker processes fit."""

from collections.abc import Iterable

from i2crc.data.index import Entry, Index
from i2crc.runtime.log import log
from i2crc.runtime.memory import free_memory

# Bytes of a worker, of a pixel, and of a label in a pixel. The photographs of VOC and COCO with the
# most detail took 0.59, 1.57 and 5.04 kB a pixel with 3, 21 and 81 labels, 2 to 6 % less than this.
# Noise takes 1.4 times as much. This was measured with pydensecrf. The engine `lattice` takes half
# as much with 21 labels, and as much with 3.
WORKER, PIXEL, LABEL = 300_000_000, 450, 58


def largest(indexes: Iterable[Index], labels_setting: str = "all") -> tuple[str, int]:
    """Return the photograph that takes most memory in the CRF, in words, and the bytes it takes.

    `labels_setting` is `crf.labels`.
    """
    sizes = [
        (worker_bytes(entry.size, labels), labels, entry)
        for index in indexes
        for entry in index.images
        for classes in [known_classes(index, entry, labels_setting)]
        for labels in [1 + len(index.classes if classes is None else classes)]
    ]
    if not sizes:
        return "", 0
    needed, labels, entry = max(sizes, key=lambda size: size[0])
    photograph = f"{entry.photograph.image} ({entry.width}x{entry.height} pixels, {labels} labels)"
    return photograph, needed


def known_classes(index: Index, entry: Entry, labels_setting: str) -> list[int] | None:
    """Return the classes which alone take part in the CRF of a photograph; None: any may.

    The method knows the classes of training photographs only. `labels_setting` is `crf.labels`.
    """
    return entry.classes if labels_setting == "likely" and index.split == "train" else None


def worker_bytes(size: tuple[int, int], labels: int) -> int:
    """Return the bytes of a worker process while it refines one photograph with some labels."""
    return WORKER + size[0] * size[1] * (PIXEL + LABEL * labels)


def workers_that_fit(photograph: str, needed: int, threads: int, jobs: int = 1) -> int:
    """Return how many workers a job may start, one at least; log it if they are fewer than threads.

    `photograph` takes most memory, `needed` bytes. `jobs` such jobs may run on this machine at a
    time, and share its free memory.
    """
    free = free_memory()
    count = max(1, min(threads, free // max(jobs, 1) // max(needed, 1)))
    if count < threads:
        log.info(
            "%d workers instead of %d: %s takes %.1f GB in each, and %.1f GB are free",
            *(count, threads, photograph, needed / 1e9, free / 1e9),
        )
    return count
