"""List the photographs of a data set with their classes, and draw val if none is given."""

import argparse
import time
from dataclasses import asdict
from pathlib import Path

from i2crc.artifacts.kept import make_once
from i2crc.artifacts.provenance import Origin
from i2crc.config.schema import Dataset
from i2crc.runtime.errors import counted
from i2crc.runtime.log import log
from i2crc.runtime.parser import make_parser, run


def main(arguments: argparse.Namespace) -> None:
    dataset = Dataset.model_validate_json(arguments.settings)
    origin = Origin(Path(__file__), [], dataset)

    def make() -> list[dict]:
        # Imported here, because a finished stage must not wait for numpy.
        from i2crc.data.listing import list_dataset
        from i2crc.data.splits import draw_splits

        listed = draw_splits(
            list_dataset(arguments.root, dataset, arguments.outside),
            arguments.root,
            dataset,
            arguments.threads,
        )
        counts = [f"{split}: {len(rows)}" for split, rows in listed.splits.items()]
        classes = counted(len(listed.classes), "class", "classes")
        log.info("photographs of %s, %s", ", ".join(counts), classes)
        return [asdict(listed)]

    # Without `files`, nobody knows whether a photograph has changed.
    outside = [str(path) for path in arguments.outside]
    key = [str(arguments.root), outside, arguments.files or time.time()]
    make_once(origin, [arguments.output], make, key)


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--root", type=Path, required=True, help="data set folder")
    parser.add_argument("--settings", default="{}", help="JSON: the section `dataset`")
    parser.add_argument(
        "--outside", type=Path, nargs="*", default=[], help="folders that hold no photographs"
    )
    parser.add_argument(
        "--files", default="", help="digest of names, sizes and times of the data set's files"
    )
    parser.add_argument("--output", type=Path, required=True, help="output: the listing")
    run(main, parser)
