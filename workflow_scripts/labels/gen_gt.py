"""Generate the initial pseudo labels of one shard from attention and saliency maps."""

import argparse
from concurrent.futures import Executor
from pathlib import Path

from i2crc.artifacts.manifest import Work, make_shard, read_manifests, shard_parser, threads
from i2crc.artifacts.provenance import Origin
from i2crc.config.schema import PseudoLabels
from i2crc.data.index import read_index
from i2crc.runtime.parser import run


def main(arguments: argparse.Namespace) -> None:
    settings = PseudoLabels.model_validate_json(arguments.settings)
    index = read_index(arguments.index)
    classes = {entry.id: entry.classes or [] for entry in index.images}
    sizes = {entry.id: entry.own_size for entry in index.images}
    trusted = {entry.id: (entry.trusted_mask, entry.trusted_sha256) for entry in index.images}
    attention = read_manifests([arguments.cams])
    saliency = read_manifests([arguments.saliency])
    inputs = [arguments.index, arguments.cams, arguments.saliency]
    origin = Origin(Path(__file__), inputs, settings)

    def maps_of(image_id: str) -> dict[int, str]:
        return {c: f"{image_id}_{c}.png" for c in classes[image_id]}

    def key(image_id: str) -> list:
        shas = [attention[name][1] for name in maps_of(image_id).values()]
        made_from = [len(index.classes), shas, saliency[f"{image_id}.png"][1], sizes[image_id]]
        return [*made_from, trusted[image_id][1]]

    def prepare() -> tuple[Work, Executor]:
        from i2crc.data.images import read_gray, read_label, write_label
        from i2crc.labels.pseudo_labels import initial_label

        def work(image_id: str) -> list[str]:
            if mask := trusted[image_id][0]:
                write_label(arguments.folder / f"{image_id}.png", read_label(Path(mask)))
                return [f"{image_id}.png"]
            label = initial_label(
                {c: read_gray(attention[name][0]) for c, name in maps_of(image_id).items()},
                read_gray(saliency[f"{image_id}.png"][0]),
                classes[image_id],
                settings,
            )
            write_label(arguments.folder / f"{image_id}.png", label, sizes[image_id])
            return [f"{image_id}.png"]

        return work, threads(arguments.threads)

    keys = {image_id: key(image_id) for image_id in classes}
    make_shard({arguments.manifest: arguments.folder}, origin, arguments.folder, keys, prepare)


if __name__ == "__main__":
    parser = shard_parser(__doc__, "pseudo_labels")
    parser.add_argument("--cams", type=Path, required=True, help="manifest of the attention maps")
    parser.add_argument(
        "--saliency", type=Path, required=True, help="manifest of the saliency maps"
    )
    run(main, parser)
