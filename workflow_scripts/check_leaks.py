"""Refuse what would make scores worthless: ground truth that leaks into training.

Validation images among the training images (by name or by content), and initial weights that have
seen masks of the same data set.
"""

import argparse
import json
from pathlib import Path

from i2crc.config import Weights
from i2crc.console import log, make_parser, run
from i2crc.dataset import Index, read_index
from i2crc.files import InputError, write_json
from i2crc.provenance import Origin
from i2crc.weights import masks_seen

SHOWN = 5


def shared_images(train: Index, val: Index) -> list[str]:
    """A sentence each for names and for photographs that both splits have."""
    findings = []
    names = sorted({entry.id for entry in train.images} & {entry.id for entry in val.images})
    if names:
        findings.append(
            f"{len(names)} validation images are in the training list: {_some(names)}; take them "
            "out of one of the lists"
        )
    trained = {entry.sha256: entry for entry in train.images}
    twins = [
        f"{trained[entry.sha256].image} = {entry.image}"
        for entry in val.images
        if entry.sha256 in trained and trained[entry.sha256].id != entry.id
    ]
    if twins:
        findings.append(
            f"{len(twins)} validation images are training images under another name: "
            f"{_some(twins)}; take them out of one of the lists"
        )
    return findings


def weights_that_saw_masks(networks: dict[str, Weights], name: str) -> list[str]:
    """A sentence for each network whose initial weights saw masks of the data set `name`."""
    findings = []
    for network, weights in networks.items():
        seen = masks_seen(weights)
        if seen and not name:
            findings.append(
                f"{network}.weights have seen masks of {_some(seen)}, and dataset.name is empty: "
                "name the data set, so that they can be compared"
            )
        elif name in seen:
            findings.append(
                f"{network}.weights ({weights.name or weights.source}) have seen ground-truth "
                f"masks of {name}, the data set that is scored; choose other weights"
            )
    return findings


def main(arguments: argparse.Namespace) -> None:
    networks = {
        name: Weights.model_validate(values)
        for name, values in json.loads(arguments.weights).items()
    }
    train = read_index(arguments.train)
    val = [read_index(path) for path in arguments.val]
    findings = [text for index in val for text in shared_images(train, index)]
    findings += weights_that_saw_masks(networks, arguments.dataset_name)
    if findings and not arguments.allow:
        raise InputError(
            "ground truth leaks into training:\n  "
            + "\n  ".join(findings)
            + "\nTo go on all the same, with a banner over every table: "
            "evaluation.allow_leaks: true"
        )
    for finding in findings:
        log.warning("allowed: %s", finding)
    settings = {"weights": json.loads(arguments.weights), "dataset_name": arguments.dataset_name}
    origin = Origin(Path(__file__), [arguments.train, *arguments.val], settings)
    provenance = origin.describe(arguments.output)
    write_json(arguments.output, {"findings": findings, "provenance": provenance})


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--train", type=Path, required=True, help="training index")
    parser.add_argument("--val", type=Path, nargs="*", default=[], help="validation index")
    parser.add_argument("--weights", default="{}", help="JSON: network -> its section `weights`")
    parser.add_argument("--dataset-name", default="", help="name of the data set")
    parser.add_argument("--allow", action="store_true", help="report leaks, do not stop")
    parser.add_argument("--output", type=Path, required=True, help="output: findings as JSON")
    run(main, parser)
