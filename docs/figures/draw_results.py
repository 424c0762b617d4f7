"""Draw docs/figures/results.jpg: the networks of a finished experiment on photographs of their own.

The photographs in docs/figures/photos are in the public domain and belong to no data set that the
networks were trained on. A file is named after the class that it shows.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageOps

from i2crc.artifacts.provenance import read_provenance
from i2crc.config.schema import Cam, Crf
from i2crc.data.images import read_photo, voc_palette
from i2crc.data.index import Entry
from i2crc.inference.prediction import load_classifier, load_segmentation, predict_logits
from i2crc.labels.cam import attention_maps, class_maps
from i2crc.labels.dense_crf import dense_crf
from i2crc.models.upsampling import upsample
from i2crc.models.weight_files import read_metadata
from i2crc.report.overlay import FONT, GAP, LEGEND, LINE, draw_legend
from i2crc.report.tiles import TILE, heat_tile, label_tile, photo_tile

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


def draw_sheet(
    titles: list[str], rows: list[tuple[str, list[Image.Image]]], labels: list[str]
) -> Image.Image:
    """Return the sheet of `rows` under `titles`, with a legend.

    The legend has the colours of `labels` (the background first) and of 255 (ignored).
    """
    width = len(titles) * (TILE + GAP)
    heights = [LINE + GAP + max(tile.height for tile in tiles if tile) for _, tiles in rows]
    legend = [*zip(labels, voc_palette(), strict=False), ("ignored", voc_palette()[255])]
    per_line = max(1, width // LEGEND)
    top = LINE + sum(heights)
    sheet = Image.new("RGB", (width, top + LINE * -(-len(legend) // per_line)), "white")
    draw = ImageDraw.Draw(sheet)
    draw_legend(draw, legend, top, per_line)
    for column, title in enumerate(titles):
        draw.text((column * (TILE + GAP), 4), title, "black", FONT)
    top = LINE
    for (text, tiles), height in zip(rows, heights, strict=True):
        draw.line((0, top, width, top), "#d0d7de")
        draw.text((0, top + 4), text, "#57606a", FONT)
        for column, tile in enumerate(tiles):
            if tile:
                sheet.paste(tile, (column * (TILE + GAP), top + LINE))
        top += height
    return ImageOps.expand(sheet, GAP, "white")


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
