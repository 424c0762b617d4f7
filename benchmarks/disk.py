"""How much disk a run takes, measured on a finished experiment and scaled to other image counts."""

import argparse
from collections import defaultdict
from pathlib import Path

from i2crc.data.index import read_index
from i2crc.runtime.atomic import read_json

MIB = 2**20
TRAININGS = ("classifier", "segmentation/initial", "segmentation/final")


def image_bytes(experiment: Path) -> dict[str, int]:
    """Return the bytes of the files that manifests list, by the folder of the manifests."""
    found: dict[str, int] = defaultdict(int)
    for path in sorted(experiment.rglob("*.json")):
        content = read_json(path)
        if {"stage", "folder", "count", "files"} <= content.keys():
            files = (path.parent / content["folder"] / name for name in content["files"])
            found[str(path.parent.relative_to(experiment))] += sum(
                file.stat().st_size for file in files if file.is_file()
            )
    return found


def main(arguments: argparse.Namespace) -> None:
    experiment = arguments.experiment
    wanted = {"train": arguments.train, "val": arguments.val}
    measured = {s: len(read_index(experiment / f"data/{s}.json").images) for s in wanted}
    print(f"measured on {measured['train']} training and {measured['val']} validation images")
    total = 0.0
    for folder, size in image_bytes(experiment).items():
        split = "val" if "/val" in folder else "train"
        each = size / measured[split]
        scaled = each * wanted[split] / MIB
        total += scaled
        print(f"{folder:28} {each / 1024:8.1f} KiB an image {scaled:9.0f} MiB for {wanted[split]}")
    for folder in TRAININGS:
        files = (experiment / folder).rglob("*")
        size = sum(file.stat().st_size for file in files if file.is_file()) / MIB
        total += size
        print(f"{folder:28} {size:8.1f} MiB")
    print(f"{'all of these':28} {total / 1024:8.2f} GiB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiment", type=Path, help="results/NAME of a finished run")
    parser.add_argument("--train", type=int, default=10582, help="training images to scale to")
    parser.add_argument("--val", type=int, default=1449, help="validation images to scale to")
    main(parser.parse_args())
