"""The gallery: every training photograph with the output of every stage, as pages for a browser."""

import functools
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from PIL import Image

from i2crc.artifacts.manifest import read_manifests
from i2crc.data.images import (
    IGNORE,
    read_gray,
    read_label,
    read_photo,
    voc_palette,
    write_label,
)
from i2crc.data.index import Entry, Index, read_index
from i2crc.inference.logits import read_logits
from i2crc.report.pages import render
from i2crc.report.tiles import TILE, heat_tile, label_tile, photo_tile
from i2crc.runtime.atomic import atomic_path, read_json, write_json

COPY = 640  # longest side of the copy of a photograph, in pixels
GAP = 4  # between the tiles of a strip, in pixels
LABELS = ("initial label", "refined label", "prediction")
COLUMNS = ("photograph", "saliency", "CAM", *LABELS)
Files = Mapping[str, tuple[Path, str]]  # of manifests: name -> path, SHA-256
Scores = Mapping[str, tuple[float, float]]  # image id -> mIoU, coverage


@dataclass(frozen=True)
class Sources:
    """What the pictures are made from: the index of the split, and the manifests of the stages.

    The manifests belong to `saliency`, `CAM`, the three LABELS and `logits`, in any order.
    """

    index: Path
    manifests: tuple[tuple[str, tuple[Path, ...]], ...]


def make_pictures(sources: Sources, folder: Path, image_id: str) -> list[str]:
    """Write the files of a photograph below the folder of the gallery; return their names.

    These are its strip of tiles, a copy for the browser, its doubt, and the ground truth if there
    is one. Runs in a process of its own.
    """
    entries, files = _read(sources)
    entry, name = entries[image_id], f"{image_id}.png"
    photo = read_photo(Path(entry.image), max_side=COPY)
    saliency = read_gray(files["saliency"][name][0])
    labels = {title: read_label(files[title][name][0]) for title in LABELS}
    logits = read_logits(files["logits"][f"{image_id}.npz"][0])
    doubt = label_doubt(labels["refined label"], labels["prediction"], logits, entry.classes or ())

    names = [f"thumbs/{image_id}.webp", f"photos/{image_id}.jpg", f"doubt/{image_id}.json"]
    tiles: list[Image.Image | None] = [
        photo_tile(np.asarray(photo)),
        photo_tile(saliency),
        _cam_tile(entry, files["CAM"], photo),
    ]
    tiles += map(label_tile, labels.values())
    if entry.mask:
        truth = read_label(Path(entry.mask))
        tiles.append(label_tile(truth))
        names.append(f"truth/{name}")
        write_label(folder / names[-1], truth)  # the user's own may have no colours
    with atomic_path(folder / names[0]) as temporary:
        _strip(tiles).save(temporary, quality=80, method=2)
    with atomic_path(folder / names[1]) as temporary:
        photo.save(temporary, quality=85)
    write_json(folder / names[2], doubt)
    return names


def label_doubt(
    label: np.ndarray, prediction: np.ndarray, logits: np.ndarray, classes: Sequence[int]
) -> float:
    """Return the doubt in a photograph's label, 0..1: how much a network confidently contradicts.

    It is the mean over all pixels of the network's confidence, its largest probability, where its
    prediction differs from the label or is of a class that the photograph does not have, and 0
    elsewhere. 255 in the label, which `refine_label` puts where such a class is predicted, differs
    from nothing.
    label, prediction: (H, W) uint8. logits: (K+1, h, w), of any size. classes: the photograph's
    own, 0-based.
    """
    values = logits.astype(np.float32)
    confidence = 1 / np.exp(values - values.max(axis=0)).sum(axis=0)
    size = label.shape[1], label.shape[0]
    enlarged = Image.fromarray(confidence).resize(size, Image.Resampling.BILINEAR)
    differs = (label != prediction) & (label != IGNORE)
    is_foreign = ~np.isin(prediction, [0, *(c + 1 for c in classes)])
    return round(float(np.mean(np.asarray(enlarged) * (differs | is_foreign))), 6)


def gallery_page(experiment: str) -> str:
    """Return the page, `index.html`; `photos.js` beside it says what it shows."""
    return render("gallery.html", experiment=experiment)


def photos_script(
    experiment: str,
    index: Index,
    gallery: Path,
    pictures: Mapping[str, Path],
    scores: Scores,
) -> str:
    """Return `photos.js`: what the page shows. A page that is opened as a file cannot read JSON.

    gallery: the folder of the page. pictures: title of a column -> the folder of its pictures.
    scores: `read_scores` of the refined labels.
    """
    has_masks = any(entry.mask for entry in index.images)
    titles = [*COLUMNS, *(["ground truth"] if has_masks else [])]
    colors = ["#{:02x}{:02x}{:02x}".format(*color) for color in voc_palette().tolist()]
    facts = {
        "experiment": experiment,
        "classes": index.classes,
        "colors": colors[: len(index.classes) + 1],  # the background first
        "ignored": colors[IGNORE],
        "columns": titles,
        "tile": [TILE, GAP],
        # The page adds the escaped id and `.png` (CAM: `_CLASS.png`).
        "folders": {t: _link(os.path.relpath(path, gallery)) for t, path in pictures.items()},
        "corrections": index.corrections,
    }
    photos = [json.dumps(_facts(entry, gallery, scores)) for entry in index.images]
    listed = ",\n".join(photos)
    return f"const GALLERY = {json.dumps(facts)};\nGALLERY.photos = [\n{listed}\n];\n"


def _facts(entry: Entry, gallery: Path, scores: Scores) -> dict[str, Any]:
    """Return what the page knows of a photograph."""
    facts: dict[str, Any] = {"id": entry.id, "classes": entry.classes or []}
    facts["doubt"] = read_json(gallery / "doubt" / f"{entry.id}.json")
    if _link(entry.id) != entry.id:
        facts["link"] = _link(entry.id)
    if entry.mask:
        facts["truth"] = True
    if entry.id in scores:
        facts["iou"] = scores[entry.id][0]
    return facts


def _link(path: str) -> str:
    """Return a relative path as a link; names that are not UTF-8 keep their bytes."""
    return quote(path, errors="surrogateescape")


@functools.cache  # once per worker
def _read(sources: Sources) -> tuple[dict[str, Entry], dict[str, Files]]:
    entries = {entry.id: entry for entry in read_index(sources.index).images}
    return entries, {title: read_manifests(paths) for title, paths in sources.manifests}


def _cam_tile(entry: Entry, maps: Files, photo: Image.Image) -> Image.Image | None:
    """Return the attention of all classes of a photograph over it; None for a negative."""
    values = [read_gray(maps[f"{entry.id}_{number}.png"][0]) for number in entry.classes or ()]
    if not values:
        return None
    attention = Image.fromarray(np.max(values, axis=0)).resize(photo.size)
    return heat_tile(np.asarray(attention), np.asarray(photo))


def _strip(tiles: Sequence[Image.Image | None]) -> Image.Image:
    """Return tiles side by side, each in the middle of its place; None leaves a place empty."""
    strip = Image.new("RGBA", (len(tiles) * (TILE + GAP) - GAP, TILE))
    for number, tile in enumerate(tiles):
        if tile:
            left = number * (TILE + GAP) + (TILE - tile.width) // 2
            strip.paste(tile, (left, (TILE - tile.height) // 2))
    return strip
