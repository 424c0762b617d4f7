"""Predict one shard: per image the label PNG, and the low-resolution logits for the CRF."""

import argparse
import os
from concurrent.futures import Executor
from functools import partial
from pathlib import Path

from i2crc.artifacts.manifest import Work, make_shard, shard_parser, threads
from i2crc.artifacts.provenance import Origin
from i2crc.config.schema import Predict
from i2crc.data.index import read_index
from i2crc.runtime.atomic import digest_file
from i2crc.runtime.parser import run
from i2crc.training.options import add_deterministic


def main(arguments: argparse.Namespace) -> None:
    settings = Predict.model_validate_json(arguments.settings)
    # In the order of their sizes, because the network takes some of the same size together.
    images = sorted(read_index(arguments.index).images, key=lambda one: (one.height, one.width))
    entries = {entry.id: entry for entry in images}
    inputs = [arguments.index, arguments.weights]
    origin = Origin(Path(__file__), inputs, settings, precision="fp32")
    weights = digest_file(arguments.weights)
    made_from = [weights, arguments.deterministic]
    keys = {entry.id: [*made_from, entry.sha256] for entry in entries.values()}
    parent = Path(os.path.commonpath([arguments.folder, arguments.logits]))

    def prepare() -> tuple[Work, Executor]:
        # Imported here, because a finished shard must not wait for torch.
        import numpy as np

        from i2crc.data.images import read_photo, write_label
        from i2crc.inference.logits import read_logits, write_logits
        from i2crc.inference.prediction import (
            TOGETHER,
            compute_logits,
            load_segmentation,
            precision_of,
        )
        from i2crc.labels.strongest import strongest
        from i2crc.models.upsampling import upsample
        from i2crc.runtime.parallel import Together
        from i2crc.training import distributed

        # One thread per image and `threads` images at a time is faster than the reverse.
        device = distributed.start(arguments.gpus, 1, arguments.deterministic)
        origin.device = str(device)
        model, preprocessing = load_segmentation(arguments.weights, device)
        origin.precision = precision_of(model)
        # How a photograph is rounded depends on the others that are computed with it.
        most = 1 if arguments.deterministic else TOGETHER[device.type]
        views = {"scales": settings.scales, "flip": settings.flip}
        compute = Together(partial(compute_logits, model, **views), most)

        def work(image_id: str) -> list[str]:
            photo = np.asarray(read_photo(Path(entries[image_id].image)))
            logits = arguments.logits / f"{image_id}.npz"
            label = arguments.folder / f"{image_id}.png"
            write_logits(logits, compute(preprocessing(photo), photo.shape))
            # From the stored logits, so that the CRF refines exactly this label.
            values = strongest(upsample(read_logits(logits), photo.shape[:2]))
            write_label(label, values, entries[image_id].own_size)
            return [str(file.relative_to(parent)) for file in (logits, label)]

        return work, threads(arguments.threads + most - 1)

    folders = {
        arguments.manifest: arguments.folder,
        arguments.logits_manifest: arguments.logits,
    }
    make_shard(folders, origin, parent, keys, prepare)


if __name__ == "__main__":
    parser = shard_parser(__doc__, "prediction")
    parser.add_argument("--weights", type=Path, required=True, help="trained segmentation network")
    parser.add_argument("--logits", type=Path, required=True, help="output: folder of the logits")
    parser.add_argument(
        "--logits-manifest", type=Path, required=True, help="output: manifest of these"
    )
    parser.add_argument("--gpus", type=int, default=0, help="1: use a GPU where there is one")
    add_deterministic(parser)
    run(main, parser)
