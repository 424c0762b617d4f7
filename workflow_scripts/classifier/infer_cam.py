"""Infer the attention maps of one shard: an 8-bit PNG per image and class, `ID_CLASS.png`."""

import argparse
from concurrent.futures import Executor
from functools import partial
from pathlib import Path

from i2crc.artifacts.manifest import Work, make_shard, shard_parser, threads
from i2crc.artifacts.provenance import Origin
from i2crc.config.schema import Cam
from i2crc.data.index import read_index
from i2crc.runtime.atomic import digest_file
from i2crc.runtime.parser import run
from i2crc.training.options import add_deterministic


def main(arguments: argparse.Namespace) -> None:
    settings = Cam.model_validate_json(arguments.settings)
    entries = {entry.id: entry for entry in read_index(arguments.index).images}
    inputs = [arguments.index, arguments.weights]
    origin = Origin(Path(__file__), inputs, settings, precision="fp32")
    weights = digest_file(arguments.weights)
    made_from = [weights, arguments.deterministic]
    keys = {entry.id: [*made_from, entry.sha256, entry.classes] for entry in entries.values()}

    def prepare() -> tuple[Work, Executor]:
        # Imported here, because a finished shard must not wait for torch.
        from i2crc.data.images import read_photo, write_gray
        from i2crc.inference.prediction import TOGETHER, load_classifier, precision_of
        from i2crc.labels.cam import attention_maps, averaged_maps, scaled_inputs
        from i2crc.runtime.parallel import Together
        from i2crc.training import distributed

        # One thread per image and `threads` images at a time is faster than the reverse.
        device = distributed.start(arguments.gpus, 1, arguments.deterministic)
        origin.device = str(device)
        model, classifier, preprocessing = load_classifier(arguments.weights, device)
        origin.precision = precision_of(model)
        # How a photograph is rounded depends on the others that are computed with it.
        most = 1 if arguments.deterministic else TOGETHER[device.type]
        compute = Together(partial(averaged_maps, model, flip=settings.flip), most)
        size, scales = classifier.input_size, settings.scales

        def work(image_id: str) -> list[str]:
            entry = entries[image_id]
            if not entry.classes:
                return []
            photo = read_photo(Path(entry.image))
            cam = compute(scaled_inputs(photo, size, preprocessing, scales))
            maps = attention_maps(cam[entry.classes], (entry.height, entry.width))
            names = [f"{image_id}_{c}.png" for c in entry.classes]
            for name, attention in zip(names, maps, strict=True):
                write_gray(arguments.folder / name, attention)
            return names

        return work, threads(arguments.threads + most - 1)

    folders = {arguments.manifest: arguments.folder}
    make_shard(folders, origin, arguments.folder, keys, prepare)


if __name__ == "__main__":
    parser = shard_parser(__doc__, "cam")
    parser.add_argument("--weights", type=Path, required=True, help="trained classifier")
    parser.add_argument("--gpus", type=int, default=0, help="1: use a GPU where there is one")
    add_deterministic(parser)
    run(main, parser)
