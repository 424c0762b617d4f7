"""How much disk the images of a finished experiment take, scaled to other numbers of images."""

import argparse
from pathlib import Path

from i2crc.data.index import read_index
from i2crc.runtime.atomic import read_json


def main(arguments: argparse.Namespace) -> None:
    experiment, wanted = arguments.experiment, {"train": arguments.train, "val": arguments.val}
    measured = {s: len(read_index(experiment / f"data/{s}.json").images) for s in wanted}
    print(f"measured on {measured['train']} training and {measured['val']} validation images")
    sizes: dict[Path, int] = {}
    for path in sorted(experiment.rglob("*.json")):
        content = read_json(path)
        if "sizes" in content:
            sizes[path.parent] = sizes.get(path.parent, 0) + sum(content["sizes"].values())
    for folder, size in sizes.items():
        split = "val" if "val" in folder.parts else "train"
        kib = size / measured[split] / 1024
        name = str(folder.relative_to(experiment))
        print(f"{name:28} {kib:8.1f} KiB an image {kib * wanted[split] / 1024:9.0f} MiB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiment", type=Path, help="results/NAME of a finished run")
    parser.add_argument("--train", type=int, default=10582, help="training images to scale to")
    parser.add_argument("--val", type=int, default=1449, help="validation images to scale to")
    main(parser.parse_args())
