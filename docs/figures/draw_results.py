"""Draw docs/figures/results.jpg: the networks of a finished experiment on photographs of their own.

The photographs in docs/figures/photos are in the public domain and belong to no data set that the
networks were trained on. A file is named after the class that it shows.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from i2crc.artifacts.provenance import read_provenance
from i2crc.config.schema import Cam, Crf
from i2crc.data.images import read_photo, voc_palette
from i2crc.data.index import Entry
from i2crc.inference.prediction import load_classifier, load_segmentation, predict_logits
from i2crc.labels.cam import attention_maps, class_maps
from i2crc.labels.dense_crf import dense_crf
from i2crc.models.upsampling import upsample
from i2crc.models.weight_files import read_metadata
from i2crc.report.contact_sheet import draw_sheet, heat_tile, label_tile, photo_tile

FOLDER = Path(__file__).parent
TITLES = ("photograph", "attention", "prediction", "after the CRF")


def draw_column(results: Path, file: Path, names: list[str]) -> list[Image.Image]:
    """Return the tiles of a photograph under TITLES."""
    classifier, settings, expected = load_classifier(
        results / "classifier/weights.safetensors", torch.device("cpu")
    )
    network, trained_with = load_segmentation(
        results / "segmentation/final/weights.safetensors", torch.device("cpu")
    )
    manifests = [min((results / folder).glob("*.json")) for folder in ("cams", "crf/final/val")]
    cam, crf = (read_provenance(manifest)["settings"] for manifest in manifests)
    photo = np.asarray(read_photo(file))
    size = photo.shape[:2]
    entry = Entry(file.stem, str(file), None, [names.index(file.stem)], size[1], size[0], "")
    maps = class_maps(classifier, entry, settings.input_size, expected, Cam.model_validate(cam))
    logits = predict_logits(network, photo, trained_with)
    refined = dense_crf(photo, logits, Crf.model_validate(crf)).argmax(0)
    overlay = 0.4 * photo + 0.6 * voc_palette()[refined]
    return [
        photo_tile(photo),
        heat_tile(attention_maps(maps, size)[0], photo),
        label_tile(upsample(logits, size).argmax(0)),
        photo_tile(np.where(refined[..., None] > 0, overlay, photo).astype(np.uint8)),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, help="results/EXPERIMENT of a finished run")
    parser.add_argument("--output", type=Path, default=FOLDER / "results.jpg")
    arguments = parser.parse_args()
    weights = arguments.results / "segmentation/final/weights.safetensors"
    names = read_metadata(weights)["classes"]
    files = sorted(FOLDER.glob("photos/*.jpg"))
    columns = [draw_column(arguments.results, file, names) for file in files]
    rows = list(zip(TITLES, zip(*columns, strict=True), strict=True))
    sheet = draw_sheet([file.stem for file in files], rows, ["background", *names])
    sheet.save(arguments.output, quality=88, optimize=True, progressive=True)
