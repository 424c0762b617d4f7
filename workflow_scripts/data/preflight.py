"""Look for everything that is known to go wrong later, and report all of it at once.

Problems that earlier stages recorded (lists, photographs, masks, saliency maps, leaks), and those
that only the whole run shows: weights that do not fit, masks that mean something else, too little
disk space. Problems stop the run. Warnings do not: they stand above the scores.
"""

import argparse
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from i2crc.artifacts.kept import make_once
from i2crc.artifacts.provenance import Origin
from i2crc.config.schema import Classifier, SaliencyModel, Segmentation
from i2crc.data.index import read_index
from i2crc.evaluation import data_checks, preflight
from i2crc.labels import crf_memory
from i2crc.models.weight_files import saliency_network, weights_digest
from i2crc.runtime.addresses import hide
from i2crc.runtime.atomic import read_json
from i2crc.runtime.errors import InputError, Problem, counted
from i2crc.runtime.log import log
from i2crc.runtime.parser import make_parser, run


def find_problems(arguments: argparse.Namespace, networks: dict[str, Any]) -> dict[str, Any]:
    """Return all problems but a lack of space, all warnings, and the planned bytes of each kind."""
    from i2crc.evaluation.network_checks import (
        check_network,
        checkpoint_problems,
        judge_saliency_model,
    )

    indexes = [read_index(path) for path in arguments.indexes]
    problems = [problem for index in indexes for problem in index.problems]
    warnings = [warning for index in indexes for warning in index.warnings]
    for index in indexes:
        if index.split != "test" and arguments.masks:
            wrong, doubtful = data_checks.check_masks(index, arguments.masks)
            problems, warnings = problems + wrong, warnings + doubtful
    splits = {index.split: index for index in indexes}
    has_masks = arguments.masks or any(e.mask for index in indexes for e in index.images)
    warnings += data_checks.check_splits(splits, bool(has_masks))
    problems += data_checks.check_dev(splits)
    negatives = {f"{e.id}.png" for index in indexes for e in index.images if e.classes == []}
    recorded = []
    for manifest in map(read_json, arguments.saliency):
        recorded += manifest["problems"]
        if manifest["files"]:
            wrong, doubtful = data_checks.check_saliency(manifest, negatives)
            problems, warnings = problems + wrong, warnings + doubtful
    if not arguments.allow_leaks:
        recorded += [one for path in arguments.leaks for one in read_json(path)["leaks"]]
    problems += [Problem(**one) for one in recorded]
    if arguments.saliency_model:
        wrong, doubtful = judge_saliency_model(arguments.saliency_model, splits.get("train"))
        problems, warnings = problems + wrong, warnings + doubtful
    segmentation, checkpoint = networks["segmentation"], arguments.checkpoint
    full = segmentation.supervision == "full" and not checkpoint
    problems += preflight.masks_problems(indexes, arguments.masks, full)
    parameters: dict[str, int] = {}
    # Without class names, which is a problem of its own, no network can be built.
    classes = max(len(index.classes) for index in indexes)
    if classes and checkpoint:
        problems += checkpoint_problems(checkpoint, segmentation, classes)
    elif classes:
        for name, network in networks.items():
            parameters[name], found = check_network(name, network, classes)
            problems += found
    unpredicted = {"dev"} if "classifier" in networks else {"dev", "train"}
    predicted = [index for index in indexes if index.split not in unpredicted]
    photograph, needed = crf_memory.largest(predicted, arguments.crf_labels)
    return {
        "images": {index.split: len(index.images) for index in indexes},
        "planned_bytes": preflight.planned_bytes(
            indexes, networks, parameters, arguments.largest_scale
        ),
        "crf_worker": {"photograph": photograph, "needed": needed},
        "problems": [vars(problem) for problem in problems],
        "warnings": list(dict.fromkeys(warnings)),
    }


def main(arguments: argparse.Namespace) -> None:
    given: dict[str, Any] = json.loads(arguments.settings)
    sections = {"classifier": Classifier, "segmentation": Segmentation}
    networks = {name: sections[name].model_validate(values) for name, values in given.items()}
    settings = {"networks": given, "allow_leaks": arguments.allow_leaks}
    settings["crf_labels"] = arguments.crf_labels
    settings["largest_scale"] = arguments.largest_scale
    masks = str(arguments.masks) if arguments.masks and arguments.masks.is_dir() else None
    settings |= {"masks": masks, "files": arguments.files}
    with suppress(InputError):  # which is found again as a problem
        settings["pretrained"] = [weights_digest(one.weights) for one in networks.values()]
    if arguments.saliency_model:
        settings["saliency_model"] = arguments.saliency_model.model_dump()
        with suppress(InputError):
            settings["saliency_network"] = saliency_network(arguments.saliency_model)[1]
    read = [*arguments.indexes, *arguments.saliency, *arguments.leaks]
    origin = Origin(Path(__file__), read, settings)
    make_once(origin, [arguments.output], lambda: [find_problems(arguments, networks)])
    found = read_json(arguments.output)
    planned = sum(found["planned_bytes"].values())
    # The free space and memory may have changed since.
    problems = [Problem(**one) for one in found["problems"]]
    problems += preflight.disk_problems(arguments.experiment, planned)
    problems += preflight.memory_problems(**found["crf_worker"], jobs=arguments.crf_jobs)
    preflight.report(problems, arguments.output.with_suffix(".problems.txt"))
    for warning in found["warnings"]:
        log.warning("%s", warning)
    needed = preflight.gigabytes(found["crf_worker"]["needed"])
    log.info("planned in memory: each worker of the CRF, up to %s", needed)
    for name, size in found["planned_bytes"].items():
        log.info("planned on disk: %s, %s", name, preflight.gigabytes(size))
    count = counted(len(found["warnings"]), "warning")
    log.info("no problems, %s; at most %s of disk", count, preflight.gigabytes(planned))


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--indexes", type=Path, nargs="+", required=True, help="of all splits")
    parser.add_argument("--saliency", type=Path, nargs="*", default=[], help="manifest of the maps")
    parser.add_argument(
        "--saliency-model",
        type=SaliencyModel.model_validate_json,
        help="JSON: the section `saliency.model`, if a network computes the maps",
    )
    parser.add_argument("--leaks", type=Path, nargs="*", default=[], help="findings of check_leaks")
    parser.add_argument("--allow-leaks", action="store_true", help="leaks are no problem")
    parser.add_argument("--masks", type=Path, help="folder of the masks, if the data set has any")
    parser.add_argument("--settings", required=True, help="JSON: network -> its section")
    parser.add_argument("--checkpoint", type=hide, default="", help="evaluate it, train nothing")
    parser.add_argument("--files", default="", help="digest of size and time of that file")
    parser.add_argument("--largest-scale", type=float, default=1.0, help="of `prediction.scales`")
    parser.add_argument("--crf-labels", default="all", help="the setting `crf.labels`")
    parser.add_argument("--crf-jobs", type=int, default=0, help="on this machine at a time")
    parser.add_argument("--experiment", type=Path, required=True, help="folder of the results")
    parser.add_argument("--output", type=Path, required=True, help="output: what was found")
    run(main, parser)
