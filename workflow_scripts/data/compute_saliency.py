"""Compute the saliency maps of one shard with a network: an 8-bit grey PNG per image, `ID.png`."""

import argparse
from concurrent.futures import Executor
from pathlib import Path

from i2crc.artifacts.manifest import Work, make_shard, shard_parser, threads
from i2crc.artifacts.provenance import Origin
from i2crc.config.schema import SaliencyModel
from i2crc.data.index import read_index
from i2crc.models.weight_files import saliency_network
from i2crc.runtime.log import log
from i2crc.runtime.parser import run


def main(arguments: argparse.Namespace) -> None:
    model = SaliencyModel.model_validate_json(arguments.settings)
    entries = {entry.id: entry for entry in read_index(arguments.index).images}
    path, facts = saliency_network(model)
    # The network counts by its content, wherever it is.
    settings = {**model.model_dump(exclude={"path"}), **facts}
    if model.path:
        del settings["name"]
    origin = Origin(Path(__file__), [arguments.index], settings, precision="fp32")
    keys = {entry.id: [entry.sha256] for entry in entries.values()}

    def prepare() -> tuple[Work, Executor]:
        # Imported here, because a finished shard must not wait for onnxruntime.
        from i2crc.data.images import read_photo, write_gray
        from i2crc.inference.saliency import GPU, load_saliency, saliency_map

        # One thread per image and `threads` images at a time is faster than the reverse.
        session = load_saliency(path, model, arguments.gpus)
        origin.device = "cuda" if GPU in session.get_providers() else "cpu"
        log.info("%s (licence %s) on %s", facts["name"], facts["licence"], origin.device)

        def work(image_id: str) -> list[str]:
            name = f"{image_id}.png"
            photo = read_photo(Path(entries[image_id].image))
            write_gray(arguments.folder / name, saliency_map(session, photo, model))
            return [name]

        return work, threads(arguments.threads)

    folders = {arguments.manifest: arguments.folder}
    make_shard(folders, origin, arguments.folder, keys, prepare)


if __name__ == "__main__":
    parser = shard_parser(__doc__, "saliency.model")
    parser.add_argument("--gpus", type=int, default=0, help="1: use a GPU where there is one")
    run(main, parser)
