"""Draw a contact sheet: for some training images, what every stage made of them."""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from i2crc import distributed
from i2crc.console import make_parser, run
from i2crc.dataset import Entry, read_index
from i2crc.files import atomic_path
from i2crc.images import read_gray, read_label, read_photo, voc_palette
from i2crc.manifests import read_manifests
from i2crc.prediction import load_segmentation, predict_logits
from i2crc.upsampling import upsample

TILE = 160
GAP = 4
HEADER = 24
COLUMNS = (
    "image",
    "saliency",
    "CAM",
    "initial label",
    "refined label",
    "final prediction",
    "ground truth",
)


def heat(values: np.ndarray, photo: np.ndarray) -> np.ndarray:
    """(H, W) values in 0..255 as a blue-green-red overlay on an (H, W, 3) uint8 photograph."""
    x = values[..., None] / 255 * 4 - np.array([3, 2, 1])
    colors = np.clip(1.5 - np.abs(x), 0, 1) * 255
    return (0.5 * photo + 0.5 * colors).astype(np.uint8)


def spread(entries: list[Entry], count: int) -> list[Entry]:
    """`count` entries at equal distances, those with several classes and with one in turn."""
    several = [e for e in entries if len(e.classes) > 1]
    single = [e for e in entries if len(e.classes) == 1]
    count = min(count, len(entries))
    share = min(len(several), max(count // 2, count - len(single)))
    chosen = []
    for group, number in ((several, share), (single, count - share)):
        chosen += [group[i * len(group) // number] for i in range(number)]
    return sorted(chosen, key=lambda entry: entry.id)


def sheet(rows: list[list[np.ndarray | None]], legend: list[tuple[str, np.ndarray]]) -> Image.Image:
    """Rows of (H, W, 3) uint8 pictures (None: an empty tile) under a header, above a legend."""
    step = TILE + GAP
    width, body = len(COLUMNS) * step + GAP, HEADER + len(rows) * step
    font = ImageFont.load_default(14)
    per_line = max(1, width // 150)
    lines = -(-len(legend) // per_line)
    canvas = Image.new("RGB", (width, body + lines * HEADER + GAP), "white")
    draw = ImageDraw.Draw(canvas)
    for column, title in enumerate(COLUMNS):
        draw.text((GAP + column * step, 4), title, "black", font)
    for row, pictures in enumerate(rows):
        for column, picture in enumerate(pictures):
            if picture is not None:
                tile = ImageOps.contain(Image.fromarray(picture), (TILE, TILE))
                canvas.paste(tile, (GAP + column * step, HEADER + row * step))
    for number, (name, color) in enumerate(legend):
        x, y = GAP + number % per_line * 150, body + number // per_line * HEADER
        draw.rectangle((x, y + 3, x + 16, y + 19), tuple(map(int, color)), "black")
        draw.text((x + 22, y + 3), name, "black", font)
    return canvas


def main(arguments: argparse.Namespace) -> None:
    device = distributed.start(arguments.gpus, arguments.threads)
    index = read_index(arguments.index)
    model, preprocessing = load_segmentation(arguments.weights, device)
    saliency, cams, initial, refined = (
        {name: path for name, (path, _) in read_manifests(manifests).items()}
        for manifests in (
            [arguments.saliency], arguments.cams, arguments.initial, arguments.refined,
        )
    )  # fmt: skip
    palette = voc_palette()

    def row(entry: Entry) -> list[np.ndarray | None]:
        photo = np.asarray(read_photo(Path(entry.image)))
        attention = [read_gray(cams[f"{entry.id}_{c}.png"]) for c in entry.classes]
        name = f"{entry.id}.png"
        logits = predict_logits(model, photo, preprocessing)
        prediction = upsample(logits, photo.shape[:2]).argmax(axis=0)
        return [
            photo,
            np.repeat(read_gray(saliency[name])[..., None], 3, axis=2),
            heat(np.max(attention, axis=0), photo),
            palette[read_label(initial[name])],
            palette[read_label(refined[name])],
            palette[prediction],
            palette[read_label(Path(entry.mask))] if entry.mask else None,
        ]

    rows = [row(entry) for entry in spread(index.images, arguments.images)]
    labels = ["background", *index.classes]
    legend = [*zip(labels, palette, strict=False), ("ignored", palette[255])]
    with atomic_path(arguments.output) as temporary:
        sheet(rows, legend).save(temporary)


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--index", type=Path, required=True, help="training index")
    parser.add_argument(
        "--saliency", type=Path, required=True, help="manifest of the saliency maps"
    )
    for stage in ("cams", "initial", "refined"):
        parser.add_argument(f"--{stage}", type=Path, nargs="+", required=True, help="manifests")
    parser.add_argument("--weights", type=Path, required=True, help="final segmentation network")
    parser.add_argument("--images", type=int, default=12, help="rows of the sheet")
    parser.add_argument("--output", type=Path, required=True, help="output: PNG")
    parser.add_argument("--gpus", type=int, default=0, help="1: use a GPU where there is one")
    run(main, parser)
