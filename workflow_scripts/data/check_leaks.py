"""Look for ground truth that leaks into training, which would make scores worthless.

Leaks are validation images among the training images (by name or by content), and initial weights
that have seen masks of the same data set. The stage preflight stops the run, unless leaks are
allowed.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from i2crc.artifacts.kept import make_once
from i2crc.artifacts.provenance import Origin
from i2crc.config.schema import Weights
from i2crc.data.index import read_index
from i2crc.models.weight_files import weights_digest
from i2crc.runtime.atomic import read_json
from i2crc.runtime.errors import counted
from i2crc.runtime.log import log
from i2crc.runtime.parser import make_parser, run


def main(arguments: argparse.Namespace) -> None:
    sections = json.loads(arguments.weights)
    networks = {name: Weights.model_validate(values) for name, values in sections.items()}
    settings = {
        "weights": sections,
        "dataset_name": arguments.dataset_name,
        "files": [weights_digest(one) for one in networks.values() if one.source == "file"],
    }
    origin = Origin(Path(__file__), [arguments.train, *arguments.val], settings)

    def make() -> list[dict[str, Any]]:
        from i2crc.evaluation.leaks import shared_images, summary, weights_that_saw_masks

        train = read_index(arguments.train)
        leaks = [one for val in arguments.val for one in shared_images(train, read_index(val))]
        leaks += weights_that_saw_masks(networks, arguments.dataset_name)
        return [{"findings": summary(leaks), "leaks": [vars(leak) for leak in leaks]}]

    make_once(origin, [arguments.output], make)
    findings = read_json(arguments.output)["findings"]
    for text in findings:
        log.warning("%s", text)
    log.info("%s of leaks found", counted(len(findings), "kind"))


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--train", type=Path, required=True, help="training index")
    parser.add_argument("--val", type=Path, nargs="*", default=[], help="validation index, if any")
    parser.add_argument("--weights", default="{}", help="JSON: network -> its section `weights`")
    parser.add_argument("--dataset-name", default="", help="name of the data set")
    parser.add_argument("--output", type=Path, required=True, help="output: findings as JSON")
    run(main, parser)
