"""Score the labels that a range of values of one threshold would give, against the masks."""

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from i2crc.artifacts.manifest import read_manifests
from i2crc.artifacts.provenance import Origin
from i2crc.config.schema import Evaluation, PseudoLabels
from i2crc.data.images import read_gray, read_label
from i2crc.data.index import Entry, read_index
from i2crc.evaluation.metrics import confusion
from i2crc.evaluation.sweeps import measure, oracle, variants, with_value
from i2crc.labels.pseudo_labels import initial_label, label_from_attention
from i2crc.runtime.atomic import write_json
from i2crc.runtime.errors import InputError
from i2crc.runtime.log import log
from i2crc.runtime.parallel import map_in_order
from i2crc.runtime.parser import make_parser, run

CAM = "cam_background"
LABEL = ("attention_threshold", "conflict_threshold", "object_threshold", "salient_value")


def labels_from_cams(
    entry: Entry, cams: dict[str, Path], tried: list[Evaluation]
) -> Iterator[np.ndarray]:
    """The label (H, W) uint8 of an image's strongest class for each of the settings."""
    attention = np.stack([read_gray(cams[f"{entry.id}_{c}.png"]) for c in entry.classes])
    for settings in tried:
        yield label_from_attention(attention, entry.classes, settings.cam_background)


def initial_labels(
    entry: Entry, cams: dict[str, Path], saliency_maps: dict[str, Path], tried: list[PseudoLabels]
) -> Iterator[np.ndarray]:
    """The initial label (H, W) uint8 of an image for each of the settings."""
    attention = {c: read_gray(cams[f"{entry.id}_{c}.png"]) for c in entry.classes}
    saliency = read_gray(saliency_maps[f"{entry.id}.png"])
    for settings in tried:
        yield initial_label(attention, saliency, entry.classes, settings)


def paths_of(manifests: list[Path]) -> dict[str, Path]:
    """Where the files of some manifests are, by name."""
    return {name: path for name, (path, _) in read_manifests(manifests).items()}


def main(arguments: argparse.Namespace) -> None:
    parameter, inputs = arguments.parameter, [arguments.index, *arguments.cams]
    cams = paths_of(arguments.cams)
    if parameter == CAM:
        section = with_value(Evaluation(), CAM, arguments.cam_background)
        fixed_settings = {CAM: section.cam_background}
        make_labels = partial(labels_from_cams, cams=cams)
    else:
        if arguments.saliency is None:
            raise InputError(f"--saliency: missing; {parameter} needs the saliency maps")
        section = PseudoLabels.model_validate_json(arguments.settings)
        fixed_settings = section.model_dump()
        inputs.append(arguments.saliency)
        saliency_maps = paths_of([arguments.saliency])
        make_labels = partial(initial_labels, cams=cams, saliency_maps=saliency_maps)
    tried = variants(section, parameter, arguments.values)
    values = [getattr(settings, parameter) for settings in tried]
    index = read_index(arguments.index)
    names = ["background", *index.classes]
    scored = [entry for entry in index.images if entry.mask]
    unscored = [entry.id for entry in index.images if not entry.mask]
    if unscored:
        log.info("%d images without a mask are left out: %s", len(unscored), " ".join(unscored))

    def count(entry: Entry) -> np.ndarray:
        truth = read_label(Path(entry.mask))
        labels = make_labels(entry, tried=tried)
        try:
            return np.stack([confusion(truth, label, len(names)) for label in labels])
        except ValueError as error:
            raise InputError(f"{entry.mask}: {error}") from error

    nothing = np.zeros((len(tried), len(names), len(names) + 1), np.int64)
    counts = sum(map_in_order(count, scored, arguments.threads), nothing)
    points = measure(values, counts, names)
    known = counts.any()
    fixed = points[values.index(getattr(section, parameter))]
    origin = Origin(
        Path(__file__),
        inputs=inputs,
        settings={"parameter": parameter, "values": values, "configured": fixed_settings},
    )
    result = {
        "parameter": parameter,
        "split": index.split,
        "images": len(scored),
        "points": points,
        "fixed": fixed if known else None,
        "oracle": oracle(points) if known else None,
        "images_without_mask": unscored,
        "provenance": origin.describe(arguments.output),
    }
    write_json(arguments.output, result)
    log.info(
        "%s on %s: %d values, mIoU %s at %s",
        parameter, index.split, len(values), fixed["miou"], fixed["value"],
    )  # fmt: skip


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument(
        "--parameter", required=True, choices=(CAM, *LABEL), help="the setting that varies"
    )
    parser.add_argument("--values", type=float, nargs="+", required=True, help="values to try")
    parser.add_argument("--index", type=Path, required=True, help="index of the split")
    parser.add_argument(
        "--cams", type=Path, nargs="+", required=True, help="manifests of the attention maps"
    )
    parser.add_argument(
        "--saliency", type=Path, nargs="?", help="manifest of the saliency maps, if labels need it"
    )
    parser.add_argument("--settings", default="{}", help="JSON: the section `pseudo_labels`")
    parser.add_argument(
        "--cam-background",
        type=float,
        default=Evaluation().cam_background,
        help="configured background score of a CAM (0..1)",
    )
    parser.add_argument("--output", type=Path, required=True, help="output: sweep as JSON")
    run(main, parser)
