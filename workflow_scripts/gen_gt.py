"""Generate the initial pseudo labels of one shard from attention and saliency maps."""

import argparse
from pathlib import Path

from i2crc.config import PseudoLabels
from i2crc.console import make_parser, run
from i2crc.dataset import read_index
from i2crc.images import read_gray, write_label
from i2crc.manifests import make_shard, read_manifests, threads
from i2crc.provenance import Origin
from i2crc.pseudo_labels import initial_label


def main(arguments: argparse.Namespace) -> None:
    settings = PseudoLabels.model_validate_json(arguments.settings)
    index = read_index(arguments.index)
    entries = {entry.id: entry for entry in index.images}
    attention = read_manifests([arguments.cams])
    saliency = read_manifests([arguments.saliency])
    inputs = [arguments.index, arguments.cams, arguments.saliency]
    origin = Origin(Path(__file__), inputs, settings)

    def maps_of(image_id: str) -> dict[int, str]:
        return {c: f"{image_id}_{c}.png" for c in entries[image_id].classes}

    def key(image_id: str) -> list:
        shas = [attention[name][1] for name in maps_of(image_id).values()]
        return [len(index.classes), shas, saliency[f"{image_id}.png"][1]]

    def work(image_id: str) -> list[str]:
        label = initial_label(
            {c: read_gray(attention[name][0]) for c, name in maps_of(image_id).items()},
            read_gray(saliency[f"{image_id}.png"][0]),
            entries[image_id].classes,
            settings,
        )
        write_label(arguments.folder / f"{image_id}.png", label)
        return [f"{image_id}.png"]

    keys = {image_id: key(image_id) for image_id in entries}
    with threads(arguments.threads) as pool:
        make_shard(arguments.manifest, origin, arguments.folder, keys, work, pool)


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--settings", default="{}", help="JSON: the section `pseudo_labels`")
    parser.add_argument("--index", type=Path, required=True, help="index of the shard")
    parser.add_argument("--cams", type=Path, required=True, help="manifest of the attention maps")
    parser.add_argument(
        "--saliency", type=Path, required=True, help="manifest of the saliency maps"
    )
    parser.add_argument("--folder", type=Path, required=True, help="output: label PNGs")
    parser.add_argument("--manifest", type=Path, required=True, help="output: manifest")
    run(main, parser)
