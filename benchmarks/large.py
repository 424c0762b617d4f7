"""Seconds and peak memory of stages with many photographs: what a list of a million would take.

Photographs, masks, maps and labels are links to a few tiny files, and networks train for one step.
So what costs is reading and writing lists, indexes and manifests. "bytes an image" is the growth of
the peak memory from a quarter of the images to all of them. A stage in shards makes one of them.
"""

import io
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

import harness
from growth import measure
from i2crc.artifacts.journal import FileRecord
from i2crc.artifacts.manifest import write_manifest
from i2crc.artifacts.provenance import Origin
from i2crc.data.index import shard_of
from i2crc.runtime.atomic import digest_bytes, write_bytes

SHARDS = 64
CLASSES = 20
MOST_LINKS = 60_000  # of a file; ext4 allows 65 000
HEIGHT, WIDTH = 32, 48
NETWORK = {"backbone": "efficientnet_lite0", "weights": {"source": "random"}, "batch_size": 2}
# Makes the pixels of an image of a class.
Draw = Callable[[int], np.ndarray]


def photograph(_: int) -> np.ndarray:
    """Return (H, W, 3) random pixels."""
    return np.random.default_rng().integers(256, size=(HEIGHT, WIDTH, 3), dtype=np.uint8)


def object_of(value: int, width: int) -> np.ndarray:
    """Return (H, W) pixels: an object of a value at the left, `width` pixels wide."""
    return np.tile(np.where(np.arange(WIDTH) < width, value, 0).astype(np.uint8), (HEIGHT, 1))


def link_images(folder: Path, names: list[str], draw: Draw) -> dict[str, FileRecord]:
    """Write images into a folder, as links to a few that are drawn; return name -> record."""
    folder.mkdir(parents=True)
    drawn: list[tuple[Path, FileRecord]] = []
    kinds = CLASSES * -(-len(names) // (CLASSES * MOST_LINKS))
    for kind in range(kinds):
        file = folder.with_name(f"{folder.name}-drawn") / f"{kind}{Path(names[0]).suffix}"
        content = io.BytesIO()
        Image.fromarray(draw(kind % CLASSES)).save(
            content, Image.registered_extensions()[file.suffix]
        )
        write_bytes(file, content.getvalue())
        drawn.append((file, FileRecord(digest_bytes(content.getvalue()), file.stat().st_size)))
    for number, name in enumerate(names):
        os.link(drawn[number % kinds][0], folder / name)
    return {name: drawn[number % kinds][1] for number, name in enumerate(names)}


def data_set(root: Path, images: int) -> list[str]:
    """Write a data set in VOC layout, with saliency maps; return the ids."""
    ids = [f"{number:07}" for number in range(images)]
    link_images(root / "JPEGImages", [f"{i}.jpg" for i in ids], photograph)
    masks = [f"{i}.png" for i in ids]
    link_images(root / "SegmentationClassAug", masks, lambda c: object_of(c + 1, 24))
    link_images(root / "saliency", masks, lambda _: object_of(255, 20))
    lines = (f"{image_id} {number % CLASSES}\n" for number, image_id in enumerate(ids))
    (root / "train_cls.txt").write_text("".join(lines))
    (root / "classes.txt").write_text("".join(f"class{c}\n" for c in range(CLASSES)))
    return ids


def shards(folder: Path) -> list[Path]:
    """Return the manifests or indexes of all shards in a folder."""
    return [folder / f"{number + 1}-of-{SHARDS}.json" for number in range(SHARDS)]


def stand_in(folder: Path, script: str, names: dict[str, str], draw: Draw) -> None:
    """Write the images (id -> name) and the manifests of a stage that is not computed here."""
    made = link_images(folder / "images", [*names.values()], draw)
    parts: list[dict[str, FileRecord]] = [{} for _ in range(SHARDS)]
    for image_id, name in names.items():
        parts[shard_of(image_id, SHARDS)][name] = made[name]
    origin = Origin(harness.SCRIPTS / script, [])
    for manifest, files in zip(shards(folder), parts, strict=True):
        write_manifest(manifest, origin, folder / "images", files)


def commands(root: Path, results: Path) -> dict[str, list]:
    """Return the command of each stage, in the order of the stages: name -> script and options."""
    configuration = root / "config.json"
    dataset = {"root": str(root), "val_list": "", "classes": []}
    own = {"results": str(results.parent), "experiment": results.name, "shards": SHARDS}
    configuration.write_text(json.dumps({"dataset": dataset, **own}))
    dry_run = [
        *[Path(sys.executable).with_name("snakemake"), "--snakefile", harness.ROOT / "Snakefile"],
        *["--configfile", configuration, "--directory", root, "--cores", "1", "--dry-run"],
    ]
    index, threads = results / "data/train.json", ["--threads", harness.cores()]
    part = ["--index", shards(results / "data/train")[0], *threads]
    cams, initial = results / "cams", results / "labels/initial"
    maps = results / "saliency/manifest.json"

    def training(name: str, settings: dict) -> list:
        folder = results / name
        outputs = ["--weights", folder / "w.safetensors", "--history", folder / "history.csv"]
        given = ["--settings", json.dumps({**NETWORK, **settings}), *outputs, *threads]
        return [*given, "--index", index, "--run-folder", folder / "run"]

    def made(name: str) -> list:
        return ["--folder", results / name, "--manifest", results / f"{name}.json"]

    return {
        "dry run": dry_run,
        "prepare_data": [
            *["data/prepare_data.py", "--split", "train", "--root", root, "--files", "known"],
            *["--output", index, "--shards", *shards(results / "data/train"), *threads],
        ],
        "download_saliency": [
            *["data/download_saliency.py", "--source", root / "saliency", "--files", "known"],
            *["--index", index, "--cache", results / "cache", "--manifest", maps, *threads],
        ],
        "train_classifier, a step": [
            *["classifier/train_classifier.py", "--saliency", maps],
            *training("classifier", {"max_iterations": 1, "input_size": 64}),
        ],
        f"gen_gt, 1 of {SHARDS} shards": [
            *["labels/gen_gt.py", "--cams", shards(cams)[0], "--saliency", maps],
            *[*made("gen_gt"), *part],
        ],
        f"refine_labels, 1 of {SHARDS} shards": [
            *["labels/refine_labels.py", "--predictions", shards(initial)[0]],
            *["--initial", shards(initial)[0], *made("refined"), *part],
        ],
        "train_segmentation, a step": [
            *["segmentation/train_segmentation.py", "--labels", *shards(initial)],
            *training("segmentation", {"iterations": 1, "crop_size": 64}),
        ],
        "score": [
            *["evaluation/score.py", "--stage", "initial_labels", "--index", index, "--manifests"],
            *[*shards(initial), "--output", results / "score.json", *threads],
            *["--images-csv", results / "score.csv"],
        ],
        "dry run, made until gen_gt": dry_run,
    }


def measured(images: int) -> dict[str, tuple[float, float]]:
    """Return seconds and peak memory in GiB of each stage with a number of images."""
    with tempfile.TemporaryDirectory(prefix="i2crc-") as folder:
        root, results = Path(folder, "voc"), Path(folder, "results")
        ids = data_set(root, images)
        names = {image_id: f"{image_id}_{n % CLASSES}.png" for n, image_id in enumerate(ids)}
        stand_in(results / "cams", "classifier/infer_cam.py", names, lambda _: object_of(255, 22))
        (results / ".lock").touch()  # of a run: outputs are looked at
        names = {image_id: f"{image_id}.png" for image_id in ids}
        stand_in(
            results / "labels/initial", "labels/gen_gt.py", names, lambda c: object_of(c + 1, 18)
        )
        found = {}
        for name, words in commands(root, results).items():
            found[name] = measure(words)
            print(images, name, *(f"{value:.2f}" for value in found[name]), flush=True)
        return found


if __name__ == "__main__":
    parser = harness.parser(__doc__)
    parser.add_argument("--images", type=int, default=100_000, help="number of photographs")
    arguments = parser.parse_args()
    images = 2000 if arguments.quick else arguments.images
    few, many = measured(images // 4), measured(images)
    rows = []
    for name in many:
        slope = (many[name][1] - few[name][1]) * 2**30 / (images - images // 4)
        figures = {
            f"{amount} images": "{:.1f} s, {:.2f} GiB".format(*found[name])
            for amount, found in ((images // 4, few), (images, many))
        }
        figures["bytes an image"] = f"{slope:.0f}"
        rows.append({"table": "Many images", "benchmark": name, "figures": figures})
    harness.report("large", rows, arguments)
