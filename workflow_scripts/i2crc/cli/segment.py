"""Segment photographs with the model file of a run: label images, overlays, areas, annotations."""

import argparse
import csv
import math
import os
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tqdm import tqdm

from i2crc.data.given_photographs import GivenPhoto, find_photos, name_photos
from i2crc.data.photographs import OVERLAY
from i2crc.runtime.atomic import atomic_path, write_bytes
from i2crc.runtime.errors import FileError, InputError, counted, storage_number
from i2crc.runtime.progress import printable

if TYPE_CHECKING:
    from i2crc.inference.model import Model, Prediction, WorkingPhoto

# Format -> the files that it makes.
FORMATS = {
    "png": ("NAME.png", f"NAME{OVERLAY}"),
    "coco": ("annotations.json",),
    "yolo": ("labels/NAME.txt", "data.yaml"),
}
AREAS = "areas.csv"
COLUMNS = ("file", "class", "pixels", "share", "confidence")
# Batches that are worked on at the same time; each takes memory.
AT_A_TIME = 4


class Found(NamedTuple):
    """A row of the table of areas: a class in a photograph."""

    name: str
    pixels: int
    share: float
    confidence: float


class Segmented(NamedTuple):
    """What is kept of a prediction: its rows, size (width, height) and annotations of COCO."""

    rows: list[Found]
    size: tuple[int, int]
    objects: list[dict[str, Any]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this sub-command."""
    parser.add_argument(
        "model", type=Path, help="model file of a run, or the folder RESULTS/EXPERIMENT with it"
    )
    parser.add_argument(
        "photos",
        nargs="+",
        metavar="PHOTO|FOLDER|GLOB",
        help="photographs, folders with all photographs below them, or patterns in quotes",
    )
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="DIR",
        help=f"folder for {AREAS} and the files of --format; those of an earlier call are "
        "overwritten",
    )
    parser.add_argument(
        "--format",
        type=formats,
        default=["png"],
        metavar=",".join(FORMATS),
        help="png: NAME.png (the classes as a palette image of the photograph's size as displayed) "
        f"and NAME{OVERLAY}; coco: annotations.json; yolo: labels/NAME.txt; default: png",
    )
    parser.add_argument("--crf", action="store_true", help="refine the labels with a dense CRF")
    parser.add_argument(
        "--scales",
        type=scale,
        nargs="+",
        metavar="SCALE",
        help="average over these multiples of the size, such as 0.75 1 1.5; default: those of the "
        "run, with which it was scored; 1 is quickest",
    )
    parser.add_argument(
        "--flip",
        action=argparse.BooleanOptionalAction,
        help="average with the mirrored photograph, or not; default: as the run did",
    )
    parser.add_argument(
        "--batch",
        type=batch_size,
        default=1,
        metavar="N",
        help="photographs of the same size that the network takes together; default: 1",
    )
    parser.add_argument(
        "--device", choices=["cpu", "cuda"], help="default: the GPU where there is one"
    )


def formats(text: str) -> list[str]:
    """Return the formats of an option."""
    chosen = [*dict.fromkeys(text.split(","))]
    if unknown := [name for name in chosen if name not in FORMATS]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r}; give one or more of {','.join(FORMATS)}")
    return chosen


def scale(text: str) -> float:
    """Return a scale of an option."""
    try:
        return float(text)
    except ValueError:
        problem = f"{text!r} is no number; give the photographs before --scales"
        raise argparse.ArgumentTypeError(problem) from None


def batch_size(text: str) -> int:
    """Return the number of photographs of an option."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r}; give a number of photographs, at least 1")
    return int(text)


def main(arguments: argparse.Namespace) -> int:
    """Segment the photographs; return 1 if some of them failed, else 0."""
    output, chosen = arguments.output, arguments.format
    photos = name_photos(find_photos(arguments.photos, output))
    # Imported here, because the photographs are looked for first.
    from i2crc.data.coco_labels import coco_file
    from i2crc.data.yolo_labels import yolo_data
    from i2crc.inference.model import load_model
    from i2crc.training import distributed

    cores = os.cpu_count() or 1
    at_a_time = min(cores, len(photos), AT_A_TIME)
    distributed.start(int(arguments.device != "cpu"), cores // at_a_time)
    model = load_model(arguments.model, arguments.device)
    check_output(output, photos, chosen)
    found: dict[str, Segmented] = {}
    broken: list[InputError] = []
    with ExitStack() as stack:
        if "coco" in chosen:
            add = stack.enter_context(coco_file(output / "annotations.json", model.classes))
        results = segment(model, photos, arguments, at_a_time)
        for name, result in tqdm(results, "segmented", len(photos), leave=False, disable=None):
            if isinstance(result, InputError):
                broken.append(result)
                continue
            if "coco" in chosen:
                add(photos[name].name, result.size, result.objects)
            found[name] = result._replace(objects=[])
    if "yolo" in chosen:
        write_bytes(output / "data.yaml", yolo_data(model.classes, "images").encode())
    write_areas(output / AREAS, {p.name: found[n].rows for n, p in photos.items() if n in found})
    files = ", ".join([*(file for name in chosen for file in FORMATS[name]), AREAS])
    print(f"{counted(len(found), 'photograph')} segmented; in {output}: {files}")
    print(printable(summary([one.rows for one in found.values()])))  # class names of a stranger
    if broken:
        failed = f"{len(broken)} of {counted(len(photos), 'photograph')} failed:"
        print(printable("\n  ".join([failed, *map(str, broken)])), file=sys.stderr)
    return 1 if broken else 0


def check_output(output: Path, photos: Mapping[str, GivenPhoto], chosen: list[str]) -> None:
    """Make the folder of the outputs; raise InputError if it cannot be written to.

    No output may replace a file that is not of an earlier call. Such a call leaves the table of
    areas in the folder, and an overlay beside a label image.
    """
    if output.exists() and not output.is_dir():
        raise FileError(output, "a file, no folder", "give a folder with --output")
    output.mkdir(parents=True, exist_ok=True)
    if not os.access(output, os.W_OK | os.X_OK):
        raise FileError(output, "cannot be written to", "give another folder with --output")
    originals = {photo.file.resolve() for photo in photos.values()}
    areas = output / AREAS
    is_earlier = areas.is_file() and areas.read_bytes().startswith(",".join(COLUMNS).encode())
    made = [file for key in chosen for file in FORMATS[key]]
    for file in [areas, *(output / one.replace("NAME", name) for name in photos for one in made)]:
        problem = ""
        if file.resolve() in originals:
            problem = "would be replaced by its own label"
        elif os.path.lexists(file):
            has_overlay = file.with_name(f"{file.stem}{OVERLAY}").exists()
            if not is_earlier or (file.suffix == ".png" and not has_overlay):
                problem = "would be replaced, but no earlier call has made it"
        if problem:
            raise FileError(file, problem, "give another folder with --output")
    if not is_earlier:
        write_areas(areas, {})  # so that a call that is interrupted can be started again


def segment(
    model: "Model",
    photos: Mapping[str, GivenPhoto],
    arguments: argparse.Namespace,
    at_a_time: int,
) -> Iterator[tuple[str, Segmented | InputError]]:
    """Segment photographs; yield the name of each with its result, or why it has none."""
    from i2crc.labels.crf_memory import worker_bytes, workers_that_fit
    from i2crc.runtime.parallel import map_in_order, processes

    options = arguments.crf, arguments.scales, arguments.flip
    model.check_options(arguments.crf, arguments.scales)
    sizes = {name: working_size(photo, model) for name, photo in photos.items()}
    with ExitStack() as stack:
        pool = None
        if arguments.crf and len(photos) > 1:
            largest = max(sizes, key=lambda name: math.prod(sizes[name]))
            needed = worker_bytes(sizes[largest], len(model.classes) + 1)
            pool = stack.enter_context(processes(workers_that_fit(largest, needed, at_a_time)))

        def work(names: list[str]) -> list[tuple[str, Segmented | InputError]]:
            opened: dict[str, WorkingPhoto] = {}
            done: list[tuple[str, Segmented | InputError]] = []
            for name in names:
                try:
                    opened[name] = model.open(photos[name].file)
                except InputError as error:
                    done.append((name, error))
            return done + predicted(opened)

        def predicted(
            opened: dict[str, "WorkingPhoto"],
        ) -> list[tuple[str, Segmented | InputError]]:
            try:
                predictions = model.segment([*opened.values()], *options, pool)
            except InputError as error:  # of one of them
                if len(opened) > 1:
                    alone = ({name: photo} for name, photo in opened.items())
                    return [result for one in alone for result in predicted(one)]
                return [(name, InputError(f"{photos[name].file}: {error}")) for name in opened]
            return [
                (name, written(arguments, name, photos[name], photo, prediction))
                for (name, photo), prediction in zip(opened.items(), predictions, strict=True)
            ]

        for results in map_in_order(work, batches(sizes, arguments.batch), at_a_time):
            yield from results


def written(
    arguments: argparse.Namespace,
    name: str,
    given: GivenPhoto,
    photo: "WorkingPhoto",
    prediction: "Prediction",
) -> Segmented | InputError:
    """Write the files of a photograph as `write_files` does; return why this one has none.

    An error that all photographs have, such as a full disk, is raised.
    """
    try:
        return write_files(arguments, name, photo, prediction)
    except OSError as error:
        if error.errno is None or storage_number(error):
            raise
        problem = f"its files cannot be written ({error.strerror})"
        return FileError(given.file, problem, "rename it, or give another folder with --output")


def working_size(photo: GivenPhoto, model: "Model") -> tuple[int, int]:
    """Return (width, height) of a photograph at the working size; (0, 0) if it is broken."""
    from i2crc.data.images import photo_size

    try:
        width, height = photo_size(photo.file)
    except InputError:
        return 0, 0
    shrink = min(1, model.max_side / max(width, height))
    return round(width * shrink), round(height * shrink)


def batches(sizes: Mapping[str, tuple[int, int]], count: int) -> Iterator[list[str]]:
    """Yield the names of `count` photographs of the same size, and at last of the rest."""
    waiting: dict[tuple[int, int], list[str]] = defaultdict(list)
    for name, size in sizes.items():
        waiting[size].append(name)
        if len(waiting[size]) == count:
            yield waiting.pop(size)
    yield from waiting.values()


def write_files(
    arguments: argparse.Namespace, name: str, photo: "WorkingPhoto", prediction: "Prediction"
) -> Segmented:
    """Write the files of a photograph; return what the files of all photographs need."""
    from i2crc.data.coco_labels import coco_objects
    from i2crc.data.images import write_label
    from i2crc.data.yolo_labels import yolo_lines
    from i2crc.report.overlay import write_overlay

    output, chosen, label = arguments.output, arguments.format, prediction.label
    if "png" in chosen:
        # The overlay is written first, because `check_output` knows the label image by it.
        write_overlay(output / f"{name}{OVERLAY}", photo.pixels, prediction)
        write_label(output / f"{name}.png", label, colors=prediction.colors)
    if "yolo" in chosen:
        write_bytes(output / "labels" / f"{name}.txt", yolo_lines(label).encode())
    objects = coco_objects(label) if "coco" in chosen else []
    confidence = prediction.confidence
    rows = [Found(one, *area, confidence[one]) for one, area in prediction.areas.items()]
    return Segmented(rows, photo.own_size, objects)


def write_areas(path: Path, found: Mapping[str, list[Found]]) -> None:
    """Write the table of areas: a row for each class in a photograph, and for its background."""
    with (
        atomic_path(path) as temporary,
        open(temporary, "w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for photo, rows in found.items():
            for one in rows:
                shares = f"{one.share:.6f}", f"{one.confidence:.4f}"
                writer.writerow([photo, one.name, one.pixels, *shares])


def summary(photos: list[list[Found]]) -> str:
    """Return a table of the classes in all photographs."""
    found = defaultdict(list)
    for rows in photos:
        for one in rows:
            found[one.name].append(one)
    pixels = sum(one.pixels for rows in photos for one in rows)
    table = [("class", "photographs", "share", "confidence")]
    for name, rows in sorted(found.items(), key=lambda item: -len(item[1])):
        own = sum(one.pixels for one in rows)
        confidence = sum(one.confidence * one.pixels for one in rows) / own
        table.append((name, str(len(rows)), f"{own / pixels:.1%}", f"{confidence:.2f}"))
    width = max(len(row[0]) for row in table)
    return "\n".join(f"{a:{width}}  {b:>11}  {c:>6}  {d:>10}" for a, b, c, d in table)
