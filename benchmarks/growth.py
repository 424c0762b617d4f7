"""How seconds and peak memory of stages grow: 1, 4 and 16 times the images, 1 to 64 shards.

Photographs are repeated by links. Each stage is a new process, as Snakemake starts it, so its time
includes the start.
"""

import os
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import harness
from i2crc.data.index import shard_of
from i2crc.runtime.atomic import write_json
from material import Material

TIMES = (1, 4, 16)
SHARDS = (1, 4, 16, 64)
# The peak memory of a process begins with that of the one which starts it, so this is a small one.
LAUNCHER = """
import resource, subprocess, sys
status = subprocess.call(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
"""


def linked_folder(material: Material, amount: int) -> Path:
    """Return a folder in VOC layout with the first photographs, as links."""
    root = material.folder / f"voc-{amount}"
    lines = []
    for folder in ("JPEGImages", "SegmentationClassAug"):
        (root / folder).mkdir(parents=True)
    for entry in material.entries(amount):
        (root / f"JPEGImages/{entry.id}.jpg").symlink_to(Path(entry.image).absolute())
        if entry.mask:
            target = root / f"SegmentationClassAug/{entry.id}.png"
            target.symlink_to(Path(entry.mask).absolute())
        lines.append(" ".join([entry.id, *map(str, entry.classes or ())]))
    (root / "train_cls.txt").write_text("\n".join(lines) + "\n")
    (root / "classes.txt").write_text("\n".join(material.index.classes) + "\n")
    return root


def commands(material: Material, amount: int) -> dict[str, list]:
    """Return the command of each stage for the first photographs: name -> script and options."""
    folder = material.folder / f"growth-{amount}"
    folder.mkdir()
    threads = ["--threads", material.threads]

    def shard(name: str, images: int = amount) -> list:
        return harness.shard_options(material, images, folder / name)

    few = max(1, amount // 4)
    return {
        "prepare_data": [
            *["data/prepare_data.py", "--split", "train", "--output", folder / "train.json"],
            *["--shards", folder / "1-of-1.json", "--root", linked_folder(material, amount)],
            *threads,
        ],
        "gen_gt": [
            *["labels/gen_gt.py", "--cams", material.manifest(material.attention())],
            *["--saliency", material.manifest(material.saliency()), *shard("gen_gt"), *threads],
        ],
        f"predict (1/{amount // few} of the images)": [
            *["segmentation/predict.py", "--weights", material.weights("segmentation")],
            *["--logits", folder / "predict/logits", "--logits-manifest", folder / "logits.json"],
            *[*shard("predict", few), *harness.device_options(material)],
        ],
        "refine_labels": [
            *["labels/refine_labels.py", "--initial", material.manifest(material.initial())],
            *["--predictions", material.manifest(material.predictions())],
            *[*shard("refine_labels"), *threads],
        ],
        "score": [
            *["evaluation/score.py", "--stage", "train_aug_crf", *threads],
            *["--index", material.index_file(amount), "--output", folder / "score.json"],
            *["--manifests", material.manifest(material.predictions())],
            *["--images-csv", folder / "score.csv"],
        ],
    }


def measure(words: list) -> tuple[float, float]:
    """Return the seconds and the peak memory in GiB of a script with its options."""
    command = [sys.executable, "-c", LAUNCHER, sys.executable]
    command += [str(harness.SCRIPTS / words[0]), *map(str, words[1:])]
    environment = {**os.environ, "PYTHONPATH": str(harness.SCRIPTS)}
    begin = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{words[0]} failed: {done.stderr}")
    return time.perf_counter() - begin, int(done.stdout.splitlines()[-1]) / 2**20


def by_images(material: Material, amounts: list[int]) -> list[dict]:
    """Return a row for each stage, with its seconds and memory for each number of images."""
    stages: dict[str, dict[str, str]] = {}
    for amount in amounts:
        for name, words in commands(material, amount).items():
            seconds, memory = measure(words)
            stages.setdefault(name, {})[f"{amount} images"] = f"{seconds:.1f} s, {memory:.2f} GiB"
    return [
        {"table": "Images", "benchmark": name, "figures": figures}
        for name, figures in stages.items()
    ]


def by_shards(material: Material, images: int, numbers: list[int]) -> dict:
    """Return the row of gen_gt, one job after the other, with the seconds of all its shards."""
    figures = {}
    for shards in numbers:
        seconds = 0.0
        for shard in range(shards):
            entries = [e for e in material.entries(images) if shard_of(e.id, shards) == shard]
            folder = material.folder / f"shards-{shards}"
            index, manifest = folder / f"index-{shard}.json", folder / f"{shard}.json"
            write_json(index, asdict(replace(material.index, images=entries)))
            seconds += measure([
                *["labels/gen_gt.py", "--cams", material.manifest(material.attention())],
                *["--saliency", material.manifest(material.saliency()), "--index", index],
                *["--folder", folder / "images", "--manifest", manifest],
                *["--threads", material.threads],
            ])[0]  # fmt: skip
        figures[str(shards)] = f"{seconds:.1f} s"
    return {
        "table": "Shards, one after the other",
        "benchmark": f"gen_gt, {images} images",
        "figures": figures,
    }


if __name__ == "__main__":
    parser = harness.parser(__doc__)
    parser.add_argument("--images", type=int, default=8, help="1 time the images")
    arguments = parser.parse_args()
    images = 4 if arguments.quick else arguments.images
    amounts = [images * times for times in TIMES]
    with harness.material_of(arguments, amounts[-1]) as material:
        rows = by_images(material, amounts[: 2 if arguments.quick else None])
        shards = SHARDS[: 2 if arguments.quick else None]
        rows.append(by_shards(material, amounts[1], list(shards)))
    harness.report("growth", rows, arguments)
