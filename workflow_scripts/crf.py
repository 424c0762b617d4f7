"""Refine the predictions of one shard with a dense CRF: a label PNG per image."""

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import torch

from i2crc.config import Crf
from i2crc.console import make_parser, run
from i2crc.dataset import read_index
from i2crc.dense_crf import dense_crf
from i2crc.images import read_photo, write_label
from i2crc.logits import read_logits
from i2crc.manifests import make_shard, read_manifests
from i2crc.parallel import processes
from i2crc.provenance import Origin


def refine(
    settings: Crf, photos: dict[str, Path], logits: dict[str, Path], folder: Path, image_id: str
) -> list[str]:
    """Write the CRF's label of one image."""
    torch.set_num_threads(1)  # the images are what runs in parallel
    photo = np.asarray(read_photo(photos[image_id]))
    marginals = dense_crf(photo, read_logits(logits[image_id]), settings)
    write_label(folder / f"{image_id}.png", marginals.argmax(axis=0))
    return [f"{image_id}.png"]


def main(arguments: argparse.Namespace) -> None:
    settings = Crf.model_validate_json(arguments.settings)
    entries = read_index(arguments.index).images
    logits = read_manifests([arguments.logits])
    origin = Origin(Path(__file__), [arguments.index, arguments.logits], settings)
    keys = {e.id: [e.sha256, logits[f"{e.id}.npz"][1]] for e in entries}
    work = partial(
        refine,
        settings,
        {e.id: Path(e.image) for e in entries},
        {e.id: logits[f"{e.id}.npz"][0] for e in entries},
        arguments.folder,
    )
    with processes(arguments.threads) as pool:
        make_shard(arguments.manifest, origin, arguments.folder, keys, work, pool)


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--settings", default="{}", help="JSON: the section `crf`")
    parser.add_argument("--index", type=Path, required=True, help="index of the shard")
    parser.add_argument("--logits", type=Path, required=True, help="manifest of the logits")
    parser.add_argument("--folder", type=Path, required=True, help="output: label PNGs")
    parser.add_argument("--manifest", type=Path, required=True, help="output: manifest")
    run(main, parser)
