"""Make the front page of the report."""

import argparse
from pathlib import Path

from i2crc.artifacts.kept import make_once
from i2crc.artifacts.provenance import Origin, read_provenance
from i2crc.artifacts.schemas import Score, read_checked
from i2crc.data.index import read_index
from i2crc.runtime.parser import make_parser, run


def main(arguments: argparse.Namespace) -> None:
    columns: dict[str, dict[str, list[Path]]] = {}
    for split, title, *manifests in arguments.column:
        columns.setdefault(split, {})[title] = [Path(name) for name in manifests]
    splits = {split: [Path(name) for name in files] for split, *files in arguments.split}
    inputs = [
        *arguments.scores, *arguments.images, *arguments.histories, *arguments.weights,
        arguments.leaks, arguments.preflight,
        *(path for files in splits.values() for path in files),
        *(path for of_split in columns.values() for files in of_split.values() for path in files),
    ]  # fmt: skip
    trained = read_provenance(arguments.weights[-1])
    date = trained["start"][:10] if trained else ""

    def draw() -> list[bytes]:
        # Imported here, because a page that is already made must not wait for numpy and PIL.
        import numpy as np

        from i2crc.report.contact_sheet import read_scores
        from i2crc.report.findings import fallen_stages
        from i2crc.report.front_page import Shown, front_page
        from i2crc.report.score_table import warnings

        found = [read_checked(path, Score) for path in arguments.scores]
        scores = {score["stage"]: score for score in found}
        page = front_page(
            arguments.results,
            date,
            scores,
            {
                path.parent.name: np.genfromtxt(path, delimiter=",", names=True, ndmin=1)["loss"]
                for path in arguments.histories
            },
            {
                split: Shown(read_index(index), read_scores(images), columns[split])
                for split, (index, images) in splits.items()
            },
            warnings(arguments.leaks, arguments.weights, None),
            warnings(None, [], arguments.preflight),
            fallen_stages(scores, arguments.images, arguments.bootstrap),
        )
        return [page.encode()]

    settings = {"results": str(arguments.results), "bootstrap": arguments.bootstrap}
    # The date is in the provenance of the weights, which the digests of the inputs leave out.
    make_once(Origin(Path(__file__), inputs, settings), [arguments.output], draw, key=date)


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--results", type=Path, required=True, help="folder of the results")
    parser.add_argument("--scores", type=Path, nargs="*", default=[], help="scores as JSON")
    parser.add_argument("--images", type=Path, nargs="*", default=[], help="scores per image")
    parser.add_argument("--bootstrap", type=int, default=1000, help="replicates of the bootstrap")
    parser.add_argument("--leaks", type=Path, required=True, help="findings of check_leaks")
    parser.add_argument("--preflight", type=Path, required=True, help="findings of preflight")
    parser.add_argument(
        "--weights", type=Path, nargs="+", required=True, help="weights of the networks, in order"
    )
    parser.add_argument(
        "--histories", type=Path, nargs="+", required=True, help="history (CSV) of each training"
    )
    parser.add_argument(
        "--split", nargs=3, action="append", default=[], metavar=("SPLIT", "INDEX", "IMAGES_CSV"),
        help="a split to show photographs of: its index, and the scores per image that rank them",
    )  # fmt: skip
    parser.add_argument(
        "--column", nargs="+", action="append", default=[],
        metavar=("SPLIT TITLE", "MANIFEST"),
        help="manifests of a column of the contact sheets",
    )  # fmt: skip
    parser.add_argument("--output", type=Path, required=True, help="output: HTML fragment")
    run(main, parser)
