"""Refine the predictions of one shard with a dense CRF: a label PNG per image."""

import argparse
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from pathlib import Path

from i2crc.artifacts.manifest import Work, make_shard, read_manifests, shard_parser, threads
from i2crc.artifacts.provenance import Origin
from i2crc.config.schema import Crf
from i2crc.data.index import Entry, read_index
from i2crc.labels.crf_memory import known_classes, largest, workers_that_fit
from i2crc.runtime.parallel import in_processes
from i2crc.runtime.parser import run


def refine(
    settings: Crf,
    entries: dict[str, Entry],
    logits: dict[str, Path],
    folder: Path,
    image_id: str,
    device: str = "cpu",
) -> list[str]:
    """Write the CRF's label of one image; on the CPU this runs in a process of its own.

    Only the classes of an entry take part, if they are known.
    """
    import numpy as np

    from i2crc.data.images import read_photo, write_label
    from i2crc.inference.logits import read_logits
    from i2crc.labels.dense_crf import crf_label

    entry = entries[image_id]
    photo = np.asarray(read_photo(Path(entry.image)))
    label, _ = crf_label(photo, read_logits(logits[image_id]), settings, entry.classes, device)
    write_label(folder / f"{image_id}.png", label, entry.own_size)
    return [f"{image_id}.png"]


def main(arguments: argparse.Namespace) -> None:
    settings = Crf.model_validate_json(arguments.settings)
    index = read_index(arguments.index)
    entries = {
        entry.id: replace(entry, classes=known_classes(index, entry, settings.labels))
        for entry in index.images
    }
    logits = read_manifests([arguments.logits])
    origin = Origin(Path(__file__), [arguments.index, arguments.logits], settings)
    keys = {e.id: [e.sha256, logits[f"{e.id}.npz"][1], e.classes] for e in entries.values()}

    def prepare() -> tuple[Work, Executor]:
        paths = {image_id: logits[f"{image_id}.npz"][0] for image_id in entries}
        work = partial(refine, settings, entries, paths, arguments.folder)
        if arguments.gpus:
            # Imported here, because pydensecrf needs no torch.
            from i2crc.training import distributed

            origin.device = str(distributed.start(arguments.gpus, 1))
            if origin.device != "cpu":
                return partial(work, device=origin.device), threads(arguments.threads)
        most = largest([index], settings.labels)
        count = workers_that_fit(*most, arguments.threads, arguments.jobs)
        return in_processes(work, count)

    make_shard({arguments.manifest: arguments.folder}, origin, arguments.folder, keys, prepare)


if __name__ == "__main__":
    parser = shard_parser(__doc__, "crf")
    parser.add_argument("--logits", type=Path, required=True, help="manifest of the logits")
    parser.add_argument("--jobs", type=int, default=1, help="of this kind, on this machine at once")
    parser.add_argument("--gpus", type=int, default=0, help="1: use a GPU where there is one")
    run(main, parser)
