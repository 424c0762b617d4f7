"""Look for everything that is known to go wrong later, and report all of it at once.

Problems that earlier stages recorded (lists, photographs, masks, saliency maps, leaks), and those
that only the whole run shows: weights that do not fit, missing masks, too little disk space.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from i2crc.artifacts.kept import keep, restore
from i2crc.artifacts.provenance import Origin
from i2crc.config.schema import Classifier, Segmentation
from i2crc.data.index import Index, read_index
from i2crc.evaluation.disk import planned_bytes
from i2crc.evaluation.preflight import disk_problems, gigabytes, masks_problems, recorded, report
from i2crc.models.weight_files import weights_digest
from i2crc.runtime.addresses import hide
from i2crc.runtime.atomic import read_json, write_json
from i2crc.runtime.errors import InputError, Problem
from i2crc.runtime.log import log
from i2crc.runtime.parser import make_parser, run

SECTIONS: dict[str, type[Classifier | Segmentation]] = {
    "classifier": Classifier,
    "segmentation": Segmentation,
}


def find_problems(
    arguments: argparse.Namespace, networks: dict[str, Any], indexes: list[Index]
) -> tuple[list[Problem], dict[str, int]]:
    """Return all problems but a full disk, and the planned bytes by what takes them."""
    from i2crc.evaluation.network_checks import check_networks, checkpoint_problems

    made = [*arguments.indexes, *arguments.saliency]
    problems = [problem for path in made for problem in recorded(path)]
    if not arguments.allow_leaks:
        problems += [leak for path in arguments.leaks for leak in recorded(path, "leaks")]
    segmentation, checkpoint = networks["segmentation"], arguments.checkpoint
    full = segmentation.supervision == "full" and not checkpoint
    problems += masks_problems(indexes, arguments.masks, full)
    parameters: dict[str, int] = {}
    # Without class names, which is a problem of its own, no network can be built.
    classes = max(len(index.classes) for index in indexes)
    if classes and checkpoint:
        problems += checkpoint_problems(checkpoint, segmentation, classes)
    elif classes:
        parameters, found = check_networks(networks, classes)
        problems += found
    return problems, planned_bytes(indexes, networks, parameters)


def pretrained_digest(settings: Classifier | Segmentation) -> str:
    """Return the digest of a pretrained weight file; "" if it cannot be read."""
    try:
        return weights_digest(settings.weights)
    except InputError:
        return ""


def main(arguments: argparse.Namespace) -> None:
    given: dict[str, Any] = json.loads(arguments.settings)
    networks = {name: SECTIONS[name].model_validate(values) for name, values in given.items()}
    settings = {
        "networks": given,
        "pretrained": [pretrained_digest(one) for one in networks.values()],
        "allow_leaks": arguments.allow_leaks,
        "masks": str(arguments.masks) if arguments.masks and arguments.masks.is_dir() else None,
        "files": arguments.files,
    }
    made = [*arguments.indexes, *arguments.saliency, *arguments.leaks]
    origin = Origin(Path(__file__), made, settings)
    arguments.experiment.mkdir(parents=True, exist_ok=True)
    listing = arguments.output.with_suffix(".problems.txt")
    if restore(origin.fingerprint(), [arguments.output]):
        log.info("%s: already checked", arguments.output)
        planned = read_json(arguments.output)["planned_bytes"]
        # The free space may have changed since.
        report(disk_problems(arguments.experiment, sum(planned.values())), listing)
    else:
        indexes = [read_index(path) for path in arguments.indexes]
        problems, planned = find_problems(arguments, networks, indexes)
        problems += disk_problems(arguments.experiment, sum(planned.values()))
        report(problems, listing)
        content = {
            "images": {index.split: len(index.images) for index in indexes},
            "planned_bytes": planned,
            "provenance": origin.describe(arguments.output),
        }
        write_json(arguments.output, content)
        keep(origin.fingerprint(), [arguments.output])
    for name, size in planned.items():
        log.info("planned on disk: %s, %s", name, gigabytes(size))
    log.info("no problems; %s of disk planned", gigabytes(sum(planned.values())))


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument(
        "--indexes", type=Path, nargs="+", required=True, help="indexes of all splits"
    )
    parser.add_argument(
        "--saliency", type=Path, nargs="*", default=[], help="manifest of the saliency maps"
    )
    parser.add_argument("--leaks", type=Path, nargs="*", default=[], help="findings of check_leaks")
    parser.add_argument("--allow-leaks", action="store_true", help="leaks are no problem")
    parser.add_argument("--masks", type=Path, help="folder of the masks, if the data set has any")
    parser.add_argument(
        "--settings", required=True, help="JSON: network to train -> its section of the settings"
    )
    parser.add_argument(
        "--checkpoint", type=hide, default="", help="evaluate this file, train nothing"
    )
    parser.add_argument("--files", default="", help="digest of size and time of that file")
    parser.add_argument("--experiment", type=Path, required=True, help="folder of the results")
    parser.add_argument("--output", type=Path, required=True, help="output: what was found")
    run(main, parser)
