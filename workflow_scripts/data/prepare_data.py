"""Index a split of the data set, and deal its images out to shards."""

import argparse
from dataclasses import replace
from pathlib import Path

from i2crc.artifacts.hash_cache import HashCache
from i2crc.artifacts.kept import keep, restore
from i2crc.artifacts.provenance import Origin
from i2crc.config.schema import Dataset
from i2crc.data.index import Index, index_json, shard_of
from i2crc.runtime.atomic import digest_value, write_json
from i2crc.runtime.errors import FileError, Problem
from i2crc.runtime.log import log
from i2crc.runtime.parser import make_parser, run


def list_files(root: Path, dataset: Dataset, split: str) -> list[Path]:
    """Return the files that an index is made from, beside the photographs and masks."""
    lists = {"train": dataset.train_list, "val": dataset.val_list, "test": dataset.test_list}
    files = [root / name for name in (lists[split], "classes.txt", "manifest.json") if name]
    return [file for file in files if file.is_file()]


def write_index(path: Path, index: Index, origin: Origin) -> None:
    write_json(path, {**index_json(index), "provenance": origin.describe(path)})


def make_index(arguments: argparse.Namespace, dataset: Dataset, cache: HashCache) -> Index:
    """Return the index of the split; problems that leave nothing to index are in it, too."""
    # Imported here, because a finished stage must not wait for numpy.
    from i2crc.data.build_index import build_index, class_names

    split, root = arguments.split, arguments.root
    if not root.is_dir():
        remedy = "give yours with --config dataset='{root: FOLDER}'"
        missing = Problem(f"dataset.root: {root}", "no such folder", remedy)
        return Index(split, [], [], problems=[missing])
    classes, problems = None, []
    try:
        classes = class_names(root, dataset)
    except FileError as error:
        problems.append(error.problem)
    try:
        index = build_index(split, root, dataset, classes, arguments.threads, cache)
    except FileError as error:
        index = Index(split, classes or [], [], problems=[error.problem])
    return replace(index, problems=[*problems, *index.problems])


def main(arguments: argparse.Namespace) -> None:
    dataset = Dataset.model_validate_json(arguments.settings)
    origin = Origin(Path(__file__), list_files(arguments.root, dataset, arguments.split), dataset)
    outputs = [arguments.output, *arguments.shards]
    fingerprint = digest_value([origin.fingerprint(), arguments.files])
    if arguments.files and restore(fingerprint, outputs):
        log.info("%s: already made", arguments.output)
        return
    cache = HashCache(arguments.cache, digest_value([origin.key()[0], dataset.max_pixels]))
    index = make_index(arguments, dataset, cache)
    cache.save()
    for number, file in enumerate(arguments.shards):
        part = [e for e in index.images if shard_of(e.id, len(arguments.shards)) == number]
        write_index(file, Index(index.split, index.classes, part), origin)
    write_index(arguments.output, index, origin)
    log.info("%s: %d images, %d classes", arguments.split, len(index.images), len(index.classes))
    log.info(
        "photographs and masks: %d decoded, %d known from before",
        cache.decoded,
        cache.remembered,
    )
    if not index.problems:
        keep(fingerprint, outputs)
    for problem in index.problems[:1]:
        count = len(index.problems)
        log.warning("%d problems, for preflight to report; first: %s", count, problem)


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--split", choices=["train", "val", "test"], required=True)
    parser.add_argument("--root", type=Path, required=True, help="data set folder")
    parser.add_argument("--settings", default="{}", help="JSON: the section `dataset`")
    parser.add_argument("--cache", type=Path, help="file to remember what images contain")
    parser.add_argument(
        "--files", default="", help="digest of names, sizes and times of all that is read"
    )
    parser.add_argument("--output", type=Path, required=True, help="index of the whole split")
    parser.add_argument("--shards", type=Path, nargs="+", required=True, help="index of each shard")
    run(main, parser)
