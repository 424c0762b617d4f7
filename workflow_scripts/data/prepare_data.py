"""Index a split of the data set, and divide its images among the shards."""

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
    """Return the files that an index is made from, besides the photographs and masks."""
    names = getattr(dataset, f"{split}_list"), "classes.txt", "manifest.json"
    return [root / name for name in names if (root / name).is_file()]


def write_index(path: Path, index: Index, origin: Origin) -> None:
    write_json(path, {**index_json(index), "provenance": origin.describe(path)})


def make_index(arguments: argparse.Namespace, dataset: Dataset, cache: HashCache) -> Index:
    """Return the index of the split with all problems, even if there is nothing to index."""
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
    fingerprint = digest_value([origin.fingerprint(), str(arguments.root), arguments.files])
    if arguments.files and restore(fingerprint, outputs):
        log.info("%s: already made", arguments.output)
        return
    cache = HashCache(arguments.cache, digest_value([origin.code, dataset.max_pixels]))
    index = make_index(arguments, dataset, cache)
    cache.save()
    for number, file in enumerate(arguments.shards):
        part = [e for e in index.images if shard_of(e.id, len(arguments.shards)) == number]
        write_index(file, Index(index.split, index.classes, part), origin)
    write_index(arguments.output, index, origin)
    log.info("%s: %d images, %d classes", arguments.split, len(index.images), len(index.classes))
    decoded, remembered = cache.decoded, cache.remembered
    log.info("photographs and masks: %d decoded, %d known from before", decoded, remembered)
    if index.problems:
        count, first = len(index.problems), index.problems[0]
        log.warning("preflight will report %d problems, such as: %s", count, first)
    else:
        keep(fingerprint, outputs)


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--split", choices=["train", "val", "test"], required=True)
    parser.add_argument("--root", type=Path, required=True, help="data set folder")
    parser.add_argument("--settings", default="{}", help="JSON: the section `dataset`")
    parser.add_argument("--cache", type=Path, help="file that remembers decoded images")
    parser.add_argument(
        "--files", default="", help="digest of names, sizes and times of the data set's files"
    )
    parser.add_argument("--output", type=Path, required=True, help="output: index of the split")
    parser.add_argument(
        "--shards", type=Path, nargs="+", required=True, help="output: index of each shard"
    )
    run(main, parser)
