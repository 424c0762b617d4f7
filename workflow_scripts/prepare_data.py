"""Index a split of the data set, and deal its images out to shards."""

import argparse
from pathlib import Path

from i2crc.config import Dataset
from i2crc.console import log, make_parser, run
from i2crc.dataset import Index, build_index, class_names, index_json, list_file, shard_of
from i2crc.files import InputError, write_json
from i2crc.provenance import Origin


def list_files(root: Path, dataset: Dataset, split: str) -> list[Path]:
    """What an index is made of beside the images, whose digests it holds itself."""
    files = [list_file(root, dataset, split), root / "classes.txt", root / "manifest.json"]
    return [file for file in files if file.is_file()]


def write_index(path: Path, index: Index, origin: Origin) -> None:
    write_json(path, {**index_json(index), "provenance": origin.describe(path)})


def main(arguments: argparse.Namespace) -> None:
    dataset = Dataset.model_validate_json(arguments.settings)
    if not arguments.root.is_dir():
        raise InputError(
            f"dataset.root is {arguments.root}: no such folder; give yours with "
            "--config dataset='{root: FOLDER}'"
        )
    classes = class_names(arguments.root, dataset)
    index = build_index(arguments.split, arguments.root, dataset, classes, arguments.threads)
    origin = Origin(Path(__file__), list_files(arguments.root, dataset, arguments.split), dataset)
    for number, file in enumerate(arguments.shards):
        part = [e for e in index.images if shard_of(e.id, len(arguments.shards)) == number]
        write_index(file, Index(index.split, index.classes, part), origin)
    write_index(arguments.output, index, origin)
    log.info("%s: %d images, %d classes", arguments.split, len(index.images), len(index.classes))


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--split", choices=["train", "val", "test"], required=True)
    parser.add_argument("--root", type=Path, required=True, help="data set folder")
    parser.add_argument("--settings", default="{}", help="JSON: the section `dataset`")
    parser.add_argument("--output", type=Path, required=True, help="index of the whole split")
    parser.add_argument("--shards", type=Path, nargs="+", required=True, help="index of each shard")
    run(main, parser)
