"""Infer the attention maps of one shard: an 8-bit PNG per image and class, `ID_CLASS.png`."""

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from i2crc import distributed
from i2crc.attention import attention_maps
from i2crc.classifier_data import resize_photo
from i2crc.classifier_inference import load_classifier
from i2crc.classifier_net import CamNet
from i2crc.config import Cam
from i2crc.console import make_parser, run
from i2crc.dataset import Entry, read_index
from i2crc.files import digest_file
from i2crc.images import read_photo, write_gray
from i2crc.manifests import make_shard, threads
from i2crc.preprocessing import Preprocessing
from i2crc.provenance import Origin


@torch.inference_mode()
def class_maps(
    model: CamNet, entry: Entry, size: int, preprocessing: Preprocessing, cam: Cam
) -> torch.Tensor:
    """Raw (C, h, w) maps of the image's own C classes, averaged over scales and mirror images."""
    photo = read_photo(Path(entry.image))
    device = next(model.parameters()).device
    maps = []
    for scale in cam.scales:
        pixels = np.asarray(resize_photo(photo, round(size * scale)))
        image = preprocessing(pixels)[None].to(device)
        maps.append(model(image)[0, entry.classes])
        if cam.flip:
            maps.append(model(image.flip(3))[0, entry.classes].flip(2))
    largest = max((m.shape[1:] for m in maps), key=lambda shape: shape[0])
    resized = [
        F.interpolate(m[None], size=largest, mode="bilinear", align_corners=False)[0] for m in maps
    ]
    return torch.stack(resized).mean(dim=0).cpu()


def main(arguments: argparse.Namespace) -> None:
    # One thread an image, `threads` images at a time: faster than the reverse.
    device = distributed.start(arguments.gpus, 1, arguments.deterministic)
    settings = Cam.model_validate_json(arguments.settings)
    model, classifier, preprocessing = load_classifier(arguments.weights, device)
    entries = {entry.id: entry for entry in read_index(arguments.index).images}
    inputs = [arguments.index, arguments.weights]
    origin = Origin(Path(__file__), inputs, settings, precision="fp32", device=str(device))
    weights = digest_file(arguments.weights)
    keys = {entry.id: [weights, entry.sha256, entry.classes] for entry in entries.values()}

    def work(image_id: str) -> list[str]:
        entry = entries[image_id]
        cam = class_maps(model, entry, classifier.input_size, preprocessing, settings)
        maps = attention_maps(cam, (entry.height, entry.width))
        names = [f"{image_id}_{c}.png" for c in entry.classes]
        for name, attention in zip(names, maps, strict=True):
            write_gray(arguments.folder / name, attention)
        return names

    with threads(arguments.threads) as pool:
        make_shard(arguments.manifest, origin, arguments.folder, keys, work, pool)


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--settings", default="{}", help="JSON: the section `cam`")
    parser.add_argument("--weights", type=Path, required=True, help="trained classifier")
    parser.add_argument("--index", type=Path, required=True, help="index of the shard")
    parser.add_argument("--folder", type=Path, required=True, help="output: attention maps")
    parser.add_argument("--manifest", type=Path, required=True, help="output: manifest")
    parser.add_argument("--gpus", type=int, default=0, help="1: use a GPU where there is one")
    distributed.add_deterministic(parser)
    run(main, parser)
