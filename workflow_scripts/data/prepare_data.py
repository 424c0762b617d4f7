"""Index a split of the data set, and divide its images among the shards."""

import argparse
import time
from contextlib import suppress
from itertools import chain
from pathlib import Path

from i2crc.artifacts.kept import make_once
from i2crc.artifacts.provenance import Origin
from i2crc.config.schema import Dataset
from i2crc.data.index import Index, shard_of
from i2crc.runtime.atomic import read_json
from i2crc.runtime.errors import InputError, counted
from i2crc.runtime.log import log
from i2crc.runtime.parser import make_parser, run


def main(arguments: argparse.Namespace) -> None:
    dataset = Dataset.model_validate_json(arguments.settings)
    names = getattr(dataset, f"{arguments.split}_list"), "classes.txt", "manifest.json"
    inputs = [arguments.root / name for name in names if (arguments.root / name).is_file()]
    inputs = [arguments.listing] if arguments.listing else inputs
    if dataset.corrections and arguments.split == "train":
        with suppress(InputError):  # the index records it
            read_json(arguments.root / dataset.corrections)
            inputs.append(arguments.root / dataset.corrections)
    origin = Origin(Path(__file__), inputs, dataset)

    def make() -> list[dict]:
        # Imported here, because a finished stage must not wait for numpy.
        from i2crc.data.build_index import build_index
        from i2crc.data.listing import read_listing

        folder = arguments.output.parent
        listed = read_listing(arguments.listing) if arguments.listing else None
        index = build_index(
            arguments.split, arguments.root, dataset, folder, arguments.threads, listed
        )
        shards = [Index(index.split, index.classes, []) for _ in arguments.shards]
        for entry in index.images:
            shards[shard_of(entry.id, len(shards))].images.append(entry)
        images, classes = len(index.images), len(index.classes)
        found = f"{counted(images, 'image')}, {counted(classes, 'class', 'classes')}"
        trusted = [(e.trusted_mask, e.trusted_sha256) for e in index.images if e.trusted_mask]
        found += f", {counted(len(trusted), 'trusted mask')}" if trusted else ""
        found += f"; {index.corrected}" if index.corrected else ""
        log.info("%s: %s", index.split, found)
        if index.problems:
            count = counted(len(index.problems), "problem")
            log.warning("preflight will report %s, such as: %s", count, index.problems[0])
        contents = [{**vars(one)} for one in (index, *shards)]
        for content in contents:
            if not content["corrections"]:
                del content["corrections"]
        read = chain(
            ((e.image, e.sha256) for e in index.images),
            ((e.mask, e.mask_sha256) for e in index.images if e.mask),
            trusted,
        )
        # What is made here is listed, so that it is made again if it is damaged.
        files = {
            str(Path(path).relative_to(folder)): sha256
            for path, sha256 in read
            if Path(path).is_relative_to(folder)
        }
        sizes = {name: (folder / name).stat().st_size for name in files}
        contents[0] |= {"files": files, "sizes": sizes} if files else {}
        contents[0] |= {"trusted_masks": len(trusted)} if trusted else {}
        return contents

    # Without `files`, nobody knows whether a photograph has changed.
    key = [str(arguments.root), arguments.files or time.time()]
    make_once(origin, [arguments.output, *arguments.shards], make, key)


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--split", choices=["train", "val", "dev", "test"], required=True)
    parser.add_argument("--root", type=Path, required=True, help="data set folder")
    parser.add_argument("--listing", type=Path, nargs="?", help="listing, if the format is not voc")
    parser.add_argument("--settings", default="{}", help="JSON: the section `dataset`")
    parser.add_argument(
        "--files", default="", help="digest of names, sizes and times of the data set's files"
    )
    parser.add_argument("--output", type=Path, required=True, help="output: index of the split")
    parser.add_argument(
        "--shards", type=Path, nargs="+", required=True, help="output: index of each shard"
    )
    run(main, parser)
