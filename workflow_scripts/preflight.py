"""Look for everything that is known to go wrong later, and report all of it at once.

Problems that the stages before have recorded (lists, photographs, masks, saliency maps, leaks), and
what only the whole run shows: weights that do not fit, masks that are needed, too little disk.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from torch import nn

from i2crc import disk
from i2crc.addresses import hide
from i2crc.classifier_net import build_classifier
from i2crc.config import Classifier, Segmentation
from i2crc.console import log, make_parser, run
from i2crc.dataset import Index, read_index
from i2crc.download import local_path
from i2crc.files import InputError, Problem, problem_of, write_json
from i2crc.prediction import load_published
from i2crc.preflight import disk_problems, gigabytes, masks_problems, recorded, report
from i2crc.provenance import Origin
from i2crc.segmentation_net import build_segmentation
from i2crc.weights import insert, load_pretrained

Networks = dict[str, Classifier | Segmentation]
SECTIONS = {"classifier": Classifier, "segmentation": Segmentation}


def network_problems(
    name: str, settings: Classifier | Segmentation, classes: int
) -> tuple[int, list[Problem]]:
    """The number of parameters of a network that is to be trained (0 where it cannot be built),
    and why it or its initial weights cannot be had.
    """
    model: nn.Module
    parameters = 0
    try:
        if isinstance(settings, Classifier):
            model = build_classifier(settings, classes)
            features = model.features
        else:
            model = build_segmentation(settings, classes)
            features = model.base.features
        parameters = sum(values.numel() for values in model.parameters())
        insert(features, load_pretrained(settings.weights, settings.backbone))
    except InputError as error:
        return parameters, [problem_of(error, f"{name}.weights", f"see the settings of {name}")]
    return parameters, []


def checkpoint_problems(source: str, settings: Segmentation, classes: int) -> list[Problem]:
    """Why the checkpoint to evaluate, if it is a file here, cannot be loaded."""
    try:
        path = local_path(source)
        if path is not None:
            load_published(path, settings, classes)
    except InputError as error:
        return [problem_of(error, source, "see the setting checkpoint.source")]
    return []


def planned_bytes(
    indexes: list[Index], networks: Networks, parameters: dict[str, int]
) -> dict[str, int]:
    """Bytes on disk of what is to be made, by what it is made of."""
    segmentation = networks["segmentation"]
    pseudo = segmentation.supervision == "pseudo" and "classifier" in networks
    planned: dict[str, int] = {}
    for index in indexes:
        labels = len(index.classes) + 1
        each = disk.predicted_bytes
        if index.split == "train":
            each = disk.training_image_bytes
        if index.split != "train" or pseudo:
            size = sum(each(entry, labels, segmentation.output_stride) for entry in index.images)
            planned[f"images of {index.split}"] = round(size)
    for name, count in parameters.items():
        rounds = 2 if name == "segmentation" and pseudo else 1
        size = disk.training_bytes(count, networks[name].optimizer.name)
        planned[f"training of {name}"] = rounds * size
    return planned


def look(
    arguments: argparse.Namespace, indexes: list[Index], networks: Networks
) -> tuple[list[Problem], dict[str, int]]:
    """All problems, and the bytes that are planned."""
    made = [*arguments.indexes, *arguments.saliency]
    problems = [problem for path in made for problem in recorded(path)]
    if not arguments.allow_leaks:
        problems += [leak for path in arguments.leaks for leak in recorded(path, "leaks")]
    full = networks["segmentation"].supervision == "full" and not arguments.checkpoint
    problems += masks_problems(indexes, arguments.masks, full)
    parameters: dict[str, int] = {}
    classes = max(len(index.classes) for index in indexes)
    if arguments.checkpoint and classes:
        problems += checkpoint_problems(arguments.checkpoint, networks["segmentation"], classes)
    elif classes:
        for name, settings in networks.items():
            parameters[name], found = network_problems(name, settings, classes)
            problems += found
    planned = planned_bytes(indexes, networks, parameters)
    return problems + disk_problems(arguments.experiment, sum(planned.values())), planned


def main(arguments: argparse.Namespace) -> None:
    given: dict[str, Any] = json.loads(arguments.settings)
    networks = {name: SECTIONS[name].model_validate(values) for name, values in given.items()}
    indexes = [read_index(path) for path in arguments.indexes]
    arguments.experiment.mkdir(parents=True, exist_ok=True)
    problems, planned = look(arguments, indexes, networks)
    report(problems, arguments.output.with_suffix(".problems.txt"))
    for name, size in planned.items():
        log.info("planned on disk: %s, %s", name, gigabytes(size))
    made = [*arguments.indexes, *arguments.saliency, *arguments.leaks]
    origin = Origin(Path(__file__), made, given)
    content = {
        "images": {index.split: len(index.images) for index in indexes},
        "planned_bytes": planned,
        "provenance": origin.describe(arguments.output),
    }
    write_json(arguments.output, content)
    log.info("no problems; %s of disk planned", gigabytes(sum(planned.values())))


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--indexes", type=Path, nargs="+", required=True, help="of all splits")
    parser.add_argument(
        "--saliency", type=Path, nargs="*", default=[], help="manifest of the saliency maps"
    )
    parser.add_argument("--leaks", type=Path, nargs="*", default=[], help="findings of check_leaks")
    parser.add_argument("--allow-leaks", action="store_true", help="leaks are no problem")
    parser.add_argument("--masks", type=Path, help="folder of the masks; left out: none")
    parser.add_argument(
        "--settings", required=True, help="JSON: network to train -> its section of the settings"
    )
    parser.add_argument(
        "--checkpoint", type=hide, default="", help="evaluate this file, train nothing"
    )
    parser.add_argument("--experiment", type=Path, required=True, help="folder of the results")
    parser.add_argument("--output", type=Path, required=True, help="output: what was found")
    run(main, parser)
