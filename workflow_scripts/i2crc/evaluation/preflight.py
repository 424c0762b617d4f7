"""Everything that is known to go wrong later, gathered in one report before anything expensive."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from i2crc.data.index import Index
from i2crc.evaluation.disk import bytes_there
from i2crc.runtime.atomic import read_json, write_bytes
from i2crc.runtime.errors import InputError, Problem

SHOWN = 50


def recorded(path: Path, key: str = "problems") -> list[Problem]:
    """Return the problems under `key` of a JSON artifact, recorded by the stage that made it."""
    try:
        return [Problem(**problem) for problem in read_json(path)[key]]
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: holds no list of problems; delete it and run again") from error


def masks_problems(indexes: Iterable[Index], folder: Path | None, needed: bool) -> list[Problem]:
    """Return the problems of missing ground truth.

    `folder` holds the masks; None means that the data set has none. If the training is on masks
    (`needed`), each training image must have one.
    """
    if folder is not None and not folder.is_dir():
        remedy = "correct dataset.masks; to run without scores: --config dataset='{masks: \"\"}'"
        return [Problem(f"dataset.masks: {folder}", "no such folder", remedy)]
    remedy = "add it, or take its image out of the list"
    return [
        Problem(f"{folder}/{entry.id}.png", "missing, and segmentation.supervision is full", remedy)
        for index in indexes
        for entry in index.images
        if needed and index.split == "train" and not entry.mask
    ]


def disk_problems(experiment: Path, planned: int) -> list[Problem]:
    """Return a problem if the rest of `planned` bytes does not fit on the disk."""
    needed = planned - bytes_there(experiment)
    free = shutil.disk_usage(experiment).free
    if needed <= free:
        return []
    return [
        Problem(
            str(experiment),
            f"the remaining artifacts take about {gigabytes(needed)}, but {gigabytes(free)} are "
            "free",
            "make room, or put the results elsewhere with the setting `results`",
        )
    ]


def report(problems: list[Problem], file: Path) -> None:
    """Write all problems to `file` and raise one InputError; without a problem, remove `file`."""
    file.unlink(missing_ok=True)
    unique = list(map(str, dict.fromkeys(problems)))
    if not unique:
        return
    write_bytes(file, "".join(f"{line}\n" for line in unique).encode(errors="backslashreplace"))
    more = [f"... and {len(unique) - SHOWN} more"] if len(unique) > SHOWN else []
    count = "1 problem" if len(unique) == 1 else f"{len(unique)} problems"
    raise InputError(
        f"{count} to fix before the run can start (all of them are in {file}):\n  "
        + "\n  ".join([*unique[:SHOWN], *more])
    )


def gigabytes(count: float) -> str:
    """Return a number of bytes as text, in GB and in bytes."""
    return f"{count / 1e9:.2f} GB ({count:.0f} bytes)"
