"""Segment photographs with the model file of a run: a label image and an overlay of each."""

import argparse
import glob
import io
import os
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from i2crc.data.photographs import find_photographs, ids_of
from i2crc.runtime.errors import FileError, InputError, counted
from i2crc.runtime.progress import printable

GIVE = "give photographs, or folders of photographs"
# Photographs that are worked on at the same time; each takes memory.
AT_A_TIME = 4
OVERLAY = "_overlay.jpg"
MODEL = (
    "give the model file that a run makes after its last training, RESULTS/EXPERIMENT/"
    "model.safetensors, or the folder RESULTS/EXPERIMENT"
)


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
        help="for each photograph NAME.png (its classes, as a palette image of its size as "
        "displayed) and NAME_overlay.jpg; files of these names are overwritten",
    )
    parser.add_argument(
        "--device", choices=["cpu", "cuda"], help="default: the GPU where there is one"
    )


def main(arguments: argparse.Namespace) -> int:
    """Segment the photographs; return 1 if some of them failed, else 0."""
    given, output = arguments.model, arguments.output
    model = given / "model.safetensors" if given.is_dir() else given
    if not model.is_file():
        problem = f"holds no {model.name}" if given.is_dir() else "no such file"
        raise FileError(given, problem, MODEL)
    photos = name_photos(find_photos(arguments.photos, output))
    check_output(output, photos)
    found: Counter[str] = Counter()
    broken: list[InputError] = []
    results = segment(model, photos, output, arguments.device)
    for result in tqdm(results, "segmented", len(photos), leave=False, disable=None):
        if isinstance(result, InputError):
            broken.append(result)
        else:
            found.update(result or ["no class"])
    done = counted(len(photos) - len(broken), "photograph")
    print(f"{done} segmented: {output}/NAME.png and {output}/NAME_overlay.jpg")
    if found:
        counts = ", ".join(f"{name} in {count}" for name, count in found.most_common())
        print(printable(f"Found: {counts}"))  # the names may be a stranger's
    if broken:
        failed = f"{len(broken)} of {counted(len(photos), 'photograph')} failed:"
        print(printable("\n  ".join([failed, *map(str, broken)])), file=sys.stderr)
    return 1 if broken else 0


def find_photos(given: Sequence[str], output: Path) -> list[tuple[Path, str]]:
    """Return the photographs of the command line, each with its path below what was given.

    A folder stands for all photographs below it, without those in `output`. Raise FileError for
    what is not there.
    """
    photos: dict[Path, str] = {}
    for word in given:
        paths = [Path(word)]
        if glob.has_magic(word) and not paths[0].exists():
            paths = [Path(match) for match in sorted(glob.glob(word, recursive=True))]
        found = [one for path in paths for one in _photos_at(path.absolute(), output)]
        if not found:
            what = "no photograph in this folder" if paths else "no file has such a name"
            raise FileError(word, what, GIVE)
        photos |= {file: name for file, name in found if file not in photos}
    return list(photos.items())


def _photos_at(path: Path, output: Path) -> list[tuple[Path, str]]:
    """Return a photograph with its name, or those of a folder with their paths below it."""
    if not path.is_dir():
        if not path.is_file():
            raise FileError(path, "no such file", GIVE)
        return [(path, path.name)]
    if path.resolve() == output.resolve():
        problem = "holds the photographs, which would be mixed with their labels"
        raise FileError(path, problem, "give another folder with --output")
    names = find_photographs(path, [output]).names
    return [(path / name, name) for name in names if name not in _made_here(names)]


def _made_here(names: Collection[str]) -> set[str]:
    """Return the names of earlier outputs: an overlay with its label image."""
    stems = (name.removesuffix(OVERLAY) for name in names if name.endswith(OVERLAY))
    return {f"{stem}{end}" for stem in stems if f"{stem}.png" in names for end in (".png", OVERLAY)}


def name_photos(photos: Sequence[tuple[Path, str]]) -> dict[str, Path]:
    """Return photographs by the names of their outputs, which are their paths without suffix.

    Photographs that would share a name keep their suffix, and if need be their folders.
    """
    counts = Counter(name for _, name in photos)
    folder = os.path.commonpath([file.parent for file, _ in photos])
    whole = {
        name if counts[name] == 1 else os.path.relpath(file, folder): file for file, name in photos
    }
    ids = ids_of(whole)
    return {ids[name]: file for name, file in whole.items()}


def check_output(output: Path, photos: dict[str, Path]) -> None:
    """Make the folder of the outputs; raise InputError if it cannot be written to.

    No output may replace a photograph.
    """
    if output.exists() and not output.is_dir():
        raise FileError(output, "a file, no folder", "give a folder with --output")
    output.mkdir(parents=True, exist_ok=True)
    if not os.access(output, os.W_OK | os.X_OK):
        raise FileError(output, "cannot be written to", "give another folder with --output")
    originals = {file.resolve() for file in photos.values()}
    for name in photos:
        for file in output_files(output, name):
            if file.resolve() in originals:
                problem = "would be replaced by its own label"
                raise FileError(file, problem, "give another folder with --output")


def output_files(output: Path, name: str) -> tuple[Path, Path]:
    """Return where the label image and the overlay of a photograph are written."""
    return output / f"{name}.png", output / f"{name}{OVERLAY}"


def segment(
    model_file: Path, photos: dict[str, Path], output: Path, wanted: str | None
) -> Iterator[set[str] | InputError]:
    """Segment photographs; yield the classes found in each, or why it could not be read."""
    import numpy as np
    import torch
    from PIL import Image

    from i2crc.data.images import photo_size, read_photo, working_copy, write_label
    from i2crc.inference.model_file import read_model
    from i2crc.inference.prediction import predict_label
    from i2crc.report.overlay import write_overlay
    from i2crc.runtime.parallel import map_in_order
    from i2crc.training import distributed

    if wanted == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: torch finds no GPU here; leave --device out")
    cores = os.cpu_count() or 1
    at_a_time = min(cores, len(photos), AT_A_TIME)
    device = distributed.start(int(wanted != "cpu"), cores // at_a_time)
    model, card = read_model(model_file, device)

    def work(name: str) -> set[str] | InputError:
        try:
            size = photo_size(photos[name])
            if card.max_side and max(size) > card.max_side:
                copy = io.BytesIO(working_copy(photos[name], card.max_side))
                photo = Image.open(copy).convert("RGB")
            else:
                photo = read_photo(photos[name])
        except InputError as error:
            return error
        label = predict_label(model, np.asarray(photo), card.preprocessing)
        mask, overlay = output_files(output, name)
        write_label(mask, label, size)
        write_overlay(overlay, photo, label, card.classes)
        return {card.classes[value - 1] for value in np.unique(label) if value}

    yield from map_in_order(work, photos, at_a_time)
