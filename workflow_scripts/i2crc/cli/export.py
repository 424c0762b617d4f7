"""Export the network or the labels of a run in formats of other programs."""

import argparse
import csv
import io
import os
from pathlib import Path

from tqdm import tqdm

from i2crc.artifacts.lineage import UNCHANGED, read_artifact, state
from i2crc.artifacts.manifest import read_manifests
from i2crc.config.load import load_config, read_yaml
from i2crc.data.index import photo, read_index
from i2crc.runtime.atomic import write_bytes
from i2crc.runtime.errors import FileError, counted

# Folder of the labels -> what they are; the best come first.
LABELS = {"labels/refined": "refined", "labels/initial": "initial"}
# Format of a network -> the ending of its file.
NETWORK_FORMATS = {"onnx": ".onnx", "torch": ".pt2"}
ELSEWHERE = "give a file elsewhere with --output"
# Format of labels -> its name, and what is written.
LABEL_FORMATS = {
    "coco": ("COCO", "annotations/train.json and images/"),
    "yolo": ("Ultralytics YOLO", "data.yaml, images/train and labels/train"),
    "voc": ("PASCAL VOC", "VOCdevkit/VOC2012"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this sub-command."""
    parser.add_argument(
        "path",
        type=Path,
        metavar="MODEL|RESULTS",
        help="model file of a run, or the folder of an experiment, RESULTS/EXPERIMENT",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--format",
        choices=NETWORK_FORMATS,
        help="write the network: onnx for onnxruntime and others, torch for torch.export.load",
    )
    what.add_argument(
        "--labels",
        choices=LABEL_FORMATS,
        help="write the photographs of train and their refined labels as a data set",
    )
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="FILE|DIR",
        help="file for the network (.onnx or .pt2), or new folder for the data set",
    )


def main(arguments: argparse.Namespace) -> None:
    """Write what is asked for; raise InputError if the run has not made it."""
    if arguments.format:
        return export_model(arguments.path, arguments.format, arguments.output)
    export_labels(arguments.path, arguments.labels, arguments.output)


def export_model(path: Path, kind: str, output: Path) -> None:
    """Write the network of a model file to a file of another format."""
    suffix = NETWORK_FORMATS[kind]
    if output.suffix != suffix or output.is_dir():
        problem = "a folder" if output.is_dir() else f"does not end in {suffix}"
        raise FileError(output, problem, f"give a file, such as --output model{suffix}")
    if output.parent.exists() and not output.parent.is_dir():
        raise FileError(output.parent, "a file, no folder", ELSEWHERE)
    output.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(output.parent, os.W_OK | os.X_OK):
        raise FileError(output.parent, "cannot be written to", ELSEWHERE)
    from i2crc.inference.export import export_network
    from i2crc.inference.model import find_model

    equality = export_network(find_model(path), kind, output)
    print(f"{output}: network exported as {kind}, {output.stat().st_size / 1e6:.1f} MB")
    print(f"Checked: {equality}")


def export_labels(results: Path, kind: str, output: Path) -> None:
    """Write the photographs of the split train and their best labels as a data set."""
    from i2crc.data.label_export import EXPORTS, LabelledPhoto

    round_name, files = find_labels(results)
    index = read_index(results / "data/train.json")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        problem = "not empty" if output.is_dir() else "a file, no folder"
        raise FileError(output, problem, "give another folder with --output")
    photos = []
    for entry in index.images:
        place = photo(entry, results / "data/train.json")
        if f"{entry.id}.png" not in files:
            raise FileError(place, f"has no {round_name} label", "run the pipeline again")
        label = files[f"{entry.id}.png"]
        photos.append(LabelledPhoto(entry.id, place, entry.photograph.sha256, *label))
    written = EXPORTS[kind](output, index.classes, photos)
    names = list(tqdm(written, "exported", len(photos), leave=False, disable=None))
    name, parts = LABEL_FORMATS[kind]
    what = f"{counted(len(photos), 'photograph')} with {round_name} labels"
    print(f"{what} exported for {name}: {parts} in {output}")
    renamed = [(new, one.id) for new, one in zip(names, photos, strict=True) if new != one.id]
    if renamed:
        table = io.StringIO()
        csv.writer(table).writerows([("name", "id"), *renamed])
        write_bytes(output / "names.csv", table.getvalue().encode(errors="surrogateescape"))
        print(f"{len(renamed)} of them have other names there, which names.csv lists")


def find_labels(results: Path) -> tuple[str, dict[str, tuple[Path, str]]]:
    """Return which labels of the photographs are the best that a run has made, and their files.

    Raise FileError if there are none, or if a part of them is missing or older than the data.
    """
    settings = results / "config.yaml"
    if not settings.is_file():
        problem = "no folder of an experiment: it holds no config.yaml"
        raise FileError(results, problem, "give RESULTS/EXPERIMENT of a run, as results/demo")
    config = load_config(read_yaml(settings), str(settings))
    shards = range(1, config.shards + 1)
    for folder, name in LABELS.items():
        manifests = [results / folder / f"{shard}-of-{len(shards)}.json" for shard in shards]
        missing = [file for file in manifests if not file.is_file()]
        if not missing:
            _refuse_older_labels(manifests, results, name)
            return name, read_manifests(manifests)
        if len(missing) < len(manifests):
            problem = f"missing, so the {name} labels are not complete"
            raise FileError(missing[0], problem, "let the run finish, then export")
    if config.segmentation.supervision == "full":
        problem = "trained on masks (segmentation.supervision: full), so it made no labels"
        raise FileError(results, problem, "use the masks, or give an experiment with pseudo labels")
    remedy = "run the target refined_labels first"
    raise FileError(results, "has made no labels yet", remedy)


def _refuse_older_labels(manifests: list[Path], results: Path, name: str) -> None:
    """Raise FileError if labels were made before the run read other photographs or classes."""
    for file in manifests:
        made = read_artifact(file)
        index = Path(os.path.normpath(results / "data/train" / file.name))
        if made is None or state(index, made.inputs.get(index, "")) != UNCHANGED:
            problem = f"these {name} labels were made of other photographs or classes than {index}"
            raise FileError(file, f"{problem} has", "let the run finish, then export")
