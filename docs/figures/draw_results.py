"""Draw docs/figures/results.jpg: the networks of a finished experiment on photographs of their own.

The photographs in docs/figures/photos are in the public domain and belong to no data set that the
networks were trained on. A file is named after the class that it shows.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont, ImageOps

from i2crc.artifacts.provenance import read_provenance
from i2crc.config.schema import Cam, Crf
from i2crc.data.images import read_photo, voc_palette
from i2crc.data.index import Entry
from i2crc.inference.prediction import load_classifier, load_segmentation, predict_logits
from i2crc.labels.cam import attention_maps, class_maps
from i2crc.labels.dense_crf import dense_crf
from i2crc.models.upsampling import upsample
from i2crc.models.weight_files import read_metadata

FOLDER = Path(__file__).parent
TITLES = ("photograph", "attention", "prediction", "after the CRF")
TILE, GAP, TITLE_WIDTH = 180, 6, 104
# A class is named where it covers at least this share of the photograph.
NAMED_SHARE = 0.02


def settings_of(manifests: Path) -> dict:
    """Return the settings with which the stage of a folder of manifests ran."""
    return read_provenance(min(manifests.glob("*.json")))["settings"]


def blend(photo: np.ndarray, colors: np.ndarray, share: float | np.ndarray) -> Image.Image:
    """Return (H, W, 3) colours in 0..255 laid over a photograph with an opacity in 0..1."""
    return Image.fromarray((photo * (1 - share) + colors * share).astype(np.uint8))


def heat(attention: np.ndarray) -> np.ndarray:
    """Return (H, W) uint8 attention as (H, W, 3) colours from blue over green to red."""
    levels = attention[..., None] / 255 * 4 - np.array([3, 2, 1])
    return np.clip(1.5 - np.abs(levels), 0, 1) * 255


def tile(picture: Image.Image, label: np.ndarray | None, names: list[str]) -> Image.Image:
    """Return a picture TILE pixels wide, with the name of each class that `label` shows."""
    scale = TILE / picture.width
    small = picture.resize((TILE, round(picture.height * scale)), Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(small)
    for number in np.unique(label) if label is not None else ():
        region = label == number
        if 0 < number < 255 and region.mean() >= NAMED_SHARE:
            row, column = np.argwhere(region).mean(axis=0) * scale
            draw.text(
                (column, row),
                names[number],
                "white",
                ImageFont.load_default(14),
                anchor="mm",
                stroke_width=2,
                stroke_fill="black",
            )
    return small


def draw_column(results: Path, file: Path, names: list[str]) -> list[Image.Image]:
    """Return the tiles of a photograph: itself, attention, prediction, prediction after the CRF."""
    cpu = torch.device("cpu")
    picture = read_photo(file)
    photo = np.asarray(picture)
    classifier, settings, expected = load_classifier(
        results / "classifier/weights.safetensors", cpu
    )
    class_number = names.index(file.stem) - 1
    entry = Entry(file.stem, str(file), None, [class_number], *picture.size, "")
    cam = Cam.model_validate(settings_of(results / "cams"))
    maps = class_maps(classifier, entry, settings.input_size, expected, cam)
    attention = attention_maps(maps, photo.shape[:2])[0]
    network, expected = load_segmentation(results / "segmentation/final/weights.safetensors", cpu)
    logits = predict_logits(network, photo, expected)
    predicted = upsample(logits, photo.shape[:2]).argmax(0)
    crf = Crf.model_validate(settings_of(results / "crf/final/val"))
    refined = dense_crf(photo, logits, crf).argmax(0)
    colors = voc_palette()[refined]
    opacity = np.where(refined > 0, 0.6, 0.0)[..., None]
    return [
        tile(picture, None, names),
        tile(blend(photo, heat(attention), 0.5), None, names),
        tile(Image.fromarray(voc_palette()[predicted]), predicted, names),
        tile(blend(photo, colors, opacity), refined, names),
    ]


def main(arguments: argparse.Namespace) -> None:
    metadata = read_metadata(arguments.results / "segmentation/final/weights.safetensors")
    names = ["background", *metadata["classes"]]
    files = sorted(FOLDER.glob("photos/*.jpg"))
    columns = [draw_column(arguments.results, file, names) for file in files]
    height = max(column[0].height for column in columns)
    size = (TITLE_WIDTH + len(files) * (TILE + GAP), len(TITLES) * (height + GAP) - GAP)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for row, title in enumerate(TITLES):
        top = row * (height + GAP)
        draw.text((0, top + height / 2), title, "black", ImageFont.load_default(14), anchor="lm")
        for column, tiles in enumerate(columns):
            box = ImageOps.fit(tiles[row], (TILE, height))
            sheet.paste(box, (TITLE_WIDTH + column * (TILE + GAP), top))
    sheet.save(arguments.output, quality=88, optimize=True, progressive=True)
    print(f"{arguments.output}: {arguments.output.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, help="results/EXPERIMENT of a finished run")
    parser.add_argument("--output", type=Path, default=FOLDER / "results.jpg")
    main(parser.parse_args())
