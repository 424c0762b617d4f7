"""Look for what would make scores worthless: ground truth that leaks into training.

Validation images among the training images (by name or by content), and initial weights that have
seen masks of the same data set. The stage preflight stops the run, unless leaks are allowed.
"""

import argparse
import json
from pathlib import Path

from i2crc.config import Weights
from i2crc.console import log, make_parser, run
from i2crc.dataset import Index, read_index
from i2crc.files import InputError, Problem, write_json
from i2crc.provenance import Origin
from i2crc.weights import masks_seen

SHOWN = 5
TAKE_OUT = "take it out of one of the lists"
ALLOW = "to go on all the same, with a banner over every table: evaluation.allow_leaks: true"
# A sentence for the banner, and the problems that it sums up.
Finding = tuple[str, list[Problem]]


def shared_images(train: Index, val: Index) -> list[Finding]:
    """Names and photographs that both splits have."""
    findings = []
    ids = [{*(entry.id for entry in index.images), *index.left_out} for index in (train, val)]
    names = sorted(ids[0] & ids[1])
    if names:
        text = f"{len(names)} validation images are in the training list: {_some(names)}"
        what = "a validation image that is in the training list too"
        findings.append((text, [Problem(name, what, f"{TAKE_OUT}; {ALLOW}") for name in names]))
    trained = {entry.sha256: entry for entry in train.images}
    twins = [
        (trained[entry.sha256].image, entry.image)
        for entry in val.images
        if entry.sha256 in trained and trained[entry.sha256].id != entry.id
    ]
    if twins:
        shown = _some([f"{one} = {other}" for one, other in twins])
        text = f"{len(twins)} validation images are training images under another name: {shown}"
        problems = [
            Problem(
                other, f"a validation image, the same as {one} of training", f"{TAKE_OUT}; {ALLOW}"
            )
            for one, other in twins
        ]
        findings.append((text, problems))
    return findings


def weights_that_saw_masks(networks: dict[str, Weights], name: str) -> list[Finding]:
    """Networks whose initial weights saw masks of the data set `name`."""
    findings = []
    for network, weights in networks.items():
        try:
            seen = masks_seen(weights)
        except InputError:
            continue  # preflight loads the weights, and says what is wrong with them
        if seen and not name:
            what = f"have seen masks of {_some(seen)}, and dataset.name is empty"
            remedy = "name the data set, so that they can be compared"
        elif name in seen:
            chosen = weights.name or weights.source
            what = f"({chosen}) have seen ground-truth masks of {name}, the data set that is scored"
            remedy = "choose other weights"
        else:
            continue
        problem = Problem(f"{network}.weights", what, f"{remedy}; {ALLOW}")
        findings.append((f"{network}.weights {what}", [problem]))
    return findings


def main(arguments: argparse.Namespace) -> None:
    networks = {
        name: Weights.model_validate(values)
        for name, values in json.loads(arguments.weights).items()
    }
    train = read_index(arguments.train)
    val = [read_index(path) for path in arguments.val]
    findings = [finding for index in val for finding in shared_images(train, index)]
    findings += weights_that_saw_masks(networks, arguments.dataset_name)
    for text, _ in findings:
        log.warning("%s", text)
    settings = {"weights": json.loads(arguments.weights), "dataset_name": arguments.dataset_name}
    origin = Origin(Path(__file__), [arguments.train, *arguments.val], settings)
    written = {
        "findings": [text for text, _ in findings],
        "leaks": [vars(problem) for _, problems in findings for problem in problems],
        "provenance": origin.describe(arguments.output),
    }
    write_json(arguments.output, written)


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--train", type=Path, required=True, help="training index")
    parser.add_argument("--val", type=Path, nargs="*", default=[], help="validation index")
    parser.add_argument("--weights", default="{}", help="JSON: network -> its section `weights`")
    parser.add_argument("--dataset-name", default="", help="name of the data set")
    parser.add_argument("--output", type=Path, required=True, help="output: findings as JSON")
    run(main, parser)
