"""Index a split of the data set, and deal its images out to shards."""

import argparse
from dataclasses import replace
from pathlib import Path

from i2crc.config import Dataset
from i2crc.console import log, make_parser, run
from i2crc.dataset import Index, build_index, class_names, index_json, shard_of
from i2crc.files import FileError, Problem, digest_value, write_json
from i2crc.findings import Findings
from i2crc.provenance import Origin


def list_files(root: Path, dataset: Dataset, split: str) -> list[Path]:
    """What an index is made of beside the images, whose digests it holds itself."""
    lists = {"train": dataset.train_list, "val": dataset.val_list, "test": dataset.test_list}
    files = [root / name for name in (lists[split], "classes.txt", "manifest.json") if name]
    return [file for file in files if file.is_file()]


def write_index(path: Path, index: Index, origin: Origin) -> None:
    write_json(path, {**index_json(index), "provenance": origin.describe(path)})


def make_index(arguments: argparse.Namespace, dataset: Dataset, findings: Findings) -> Index:
    """The index of the split; problems that leave nothing to index are in it, too."""
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
        index = build_index(split, root, dataset, classes, arguments.threads, findings)
    except FileError as error:
        index = Index(split, classes or [], [], problems=[error.problem])
    return replace(index, problems=[*problems, *index.problems])


def main(arguments: argparse.Namespace) -> None:
    dataset = Dataset.model_validate_json(arguments.settings)
    origin = Origin(Path(__file__), list_files(arguments.root, dataset, arguments.split), dataset)
    findings = Findings(arguments.findings, digest_value([origin.key()[0], dataset.max_pixels]))
    index = make_index(arguments, dataset, findings)
    findings.save()
    for number, file in enumerate(arguments.shards):
        part = [e for e in index.images if shard_of(e.id, len(arguments.shards)) == number]
        write_index(file, Index(index.split, index.classes, part), origin)
    write_index(arguments.output, index, origin)
    log.info("%s: %d images, %d classes", arguments.split, len(index.images), len(index.classes))
    log.info(
        "photographs and masks: %d decoded, %d known from before",
        findings.decoded,
        findings.remembered,
    )
    for problem in index.problems[:1]:
        count = len(index.problems)
        log.warning("%d problems, for preflight to report; first: %s", count, problem)


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--split", choices=["train", "val", "test"], required=True)
    parser.add_argument("--root", type=Path, required=True, help="data set folder")
    parser.add_argument("--settings", default="{}", help="JSON: the section `dataset`")
    parser.add_argument("--findings", type=Path, help="file to remember what images contain")
    parser.add_argument("--output", type=Path, required=True, help="index of the whole split")
    parser.add_argument("--shards", type=Path, nargs="+", required=True, help="index of each shard")
    run(main, parser)
