"""What is known to go wrong later, in one report: missing masks, too little disk or memory."""

import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from i2crc.config.schema import Classifier, Segmentation
from i2crc.data.index import Entry, Index
from i2crc.runtime.atomic import write_bytes
from i2crc.runtime.errors import InputError, Problem, counted, listing, no_such
from i2crc.runtime.memory import free_memory

SHOWN = 50
# Equal problems of more files than these are one sentence, which names the first of them.
FEW = 3
# Bytes per pixel of a PNG. Saliency maps of 472 VOC 2012 photographs take 0.10 on average, 0.32 at
# most; an attention map of noise at stride 8 takes 0.54; masks take 0.02 on average, 0.05 at most.
GREY_PNG = 0.55
LABEL_PNG = 0.05
# In the gallery a photograph has seven tiles in one WebP (32 KB of a portrait, 53 KB of noise) and
# a JPEG whose longer side is 640 at most (bytes per pixel: 0.22 of a portrait, 0.76 of noise).
TILES = 60_000
COPY_PIXELS, COPY_JPEG = 640 * 640, 0.4
LOGIT_BYTES = 2  # float16; compression saves less than a fifth more
# Bytes of a file beside its pixels: its palette and the rest of its last block.
FILE = 4096
# Bytes per parameter of float32 weights, in the folder of their run and published.
WEIGHTS = 2 * 4
# The same of two checkpoints (the next is written before the last is removed) of weights and one
# momentum (SGD) or two moments (AdamW).
CHECKPOINTS = {"sgd": 2 * 4 * 2, "adamw": 2 * 4 * 3}
# The folders of an experiment that hold what is planned here.
FOLDERS = (
    *("saliency/maps", "saliency/computed", "cams", "labels", "predictions", "crf"),
    *("classifier", "segmentation", "gallery"),
)


def masks_problems(indexes: Sequence[Index], folder: Path | None, needed: bool) -> list[Problem]:
    """Return the problems of missing ground truth.

    `folder` holds the masks; None means that the data set has none. If the training is on masks
    (`needed`), each training image must have one, with its corrected classes if it was relabelled.
    """
    if folder is not None and not folder.is_dir():
        remedy = "correct dataset.masks; to run without scores: --config dataset='{masks: \"\"}'"
        return [Problem(f"dataset.masks: {folder}", no_such("folder", folder), remedy)]
    what = f"has no mask in {folder}, and segmentation.supervision is full"
    remedy = "add it, or take its image out of the list"
    other = "has no mask of its corrected classes, and segmentation.supervision is full"
    correct = "correct the mask, or exclude the photograph in dataset.corrections"
    problems = []
    for index in indexes if needed else ():
        relabelled = index.corrections.get("relabel", {})
        for entry in index.images if index.split == "train" else ():
            if entry.id in relabelled and set(entry.mask_classes) != set(entry.classes or ()):
                problems.append(Problem(entry.photograph.image, other, correct))
            elif not entry.mask:
                problems.append(Problem(entry.photograph.image, what, remedy))
    return problems


def planned_bytes(
    indexes: Sequence[Index],
    networks: Mapping[str, Classifier | Segmentation],
    parameters: Mapping[str, int],
    largest_scale: float = 1,
) -> dict[str, int]:
    """Return the most bytes that a run takes at a time, by what takes them.

    Only trainings read the photographs of dev, and their checkpoints then hold the best weights.
    Those of averaged weights hold these, too.

    `networks` are the settings of the networks; a classifier among them means that the training is
    on pseudo labels. `parameters` are the numbers of parameters of those that are trained.
    `largest_scale` is that of prediction.
    """
    is_pseudo = "classifier" in networks
    stride = networks["segmentation"].output_stride / largest_scale
    planned: dict[str, int] = {}
    splits = [index.split for index in indexes]
    for index in indexes:
        if index.split != "dev" and (is_pseudo or index.split != "train"):
            sizes = (image_bytes(e, index, stride) for e in index.images)
            planned[f"images of {index.split}"] = round(sum(sizes))
    checkpoints = [0]
    for name, count in parameters.items():
        rounds = 2 if is_pseudo and name == "segmentation" else 1
        in_model_file = 4 * count if name == "segmentation" else 0
        planned[f"weights of {name}"] = rounds * count * WEIGHTS + in_model_file
        copies = (name == "segmentation" and "dev" in splits) + bool(networks[name].average_last)
        state = CHECKPOINTS[networks[name].optimizer.name] + copies * WEIGHTS
        checkpoints.append(count * state)
    if parameters:
        planned["checkpoints, until a training ends"] = max(checkpoints)  # one trains at a time
    return planned


def image_bytes(entry: Entry, index: Index, stride: float) -> float:
    """Return the bytes of all artifacts of an image; `stride` is that of the logits.

    Each image has a prediction, a CRF result and logits. A training image also has a saliency map,
    the attention maps of its classes, the labels of both rounds, and its files in the gallery:
    tiles, a copy, its doubt and its mask. Labels have the size of the photograph itself, the others
    that of its working copy.
    """
    grey, labels, gallery = 0, 2, 0.0
    pixels, own_pixels = math.prod(entry.size), math.prod(entry.own_size)
    if index.split == "train":
        grey, labels = 1 + len(entry.classes or []), 4 + bool(entry.mask)
        gallery = TILES + COPY_JPEG * min(pixels, COPY_PIXELS) + 3 * FILE
    logits = LOGIT_BYTES * (1 + len(index.classes)) / stride**2
    content = (grey * GREY_PNG + logits) * pixels + labels * LABEL_PNG * own_pixels + gallery
    return content + (grey + labels + 1) * FILE


def disk_problems(experiment: Path, planned: int) -> list[Problem]:
    """Return a problem if the rest of `planned` bytes does not fit on the disk.

    What is in the folders `run` does not count as written: other settings may have made it.
    """
    found = (file for name in FOLDERS for file in (experiment / name).rglob("*"))
    written = (file for file in found if "run" not in file.relative_to(experiment).parts)
    needed = planned - sum(file.stat().st_size for file in written if file.is_file())
    free = shutil.disk_usage(experiment).free
    if needed <= free:
        return []
    what = f"the remaining artifacts take about {gigabytes(needed)}, but {gigabytes(free)} are free"
    remedy = "make room, or put the results elsewhere with the setting `results`"
    return [Problem(str(experiment), what, remedy)]


def memory_problems(photograph: str, needed: int, jobs: int) -> list[Problem]:
    """Return a problem if a worker of the CRF does not fit into the free memory of its job.

    `photograph` takes most memory, `needed` bytes. This machine runs `jobs` at a time; 0 means that
    a scheduler places them on others, whose memory is unknown here.
    """
    free = free_memory()
    if not jobs or needed * jobs <= free:
        return []
    what = f"its CRF takes about {gigabytes(needed)} of memory, but {gigabytes(free)} are free"
    remedy = "lower dataset.max_side, or name fewer classes"
    if jobs > 1:
        what += f" for {jobs} jobs at a time"
    if jobs > 1 and needed <= free:
        remedy += ", or set runtime.inference_threads to the number of --cores (one job at a time)"
    return [Problem(photograph, what, f"{remedy}, or give the machine more memory")]


def report(problems: Sequence[Problem], file: Path) -> None:
    """Write all problems to `file` and raise one InputError; without a problem, remove `file`.

    The error has one sentence for all files with the same problem and remedy.
    """
    file.unlink(missing_ok=True)
    every = list(dict.fromkeys(problems))
    if not every:
        return
    write_bytes(file, "".join(f"{one}\n" for one in every).encode(errors="backslashreplace"))
    equal: dict[tuple[str, str], list[str]] = {}
    for one in every:
        equal.setdefault((one.problem, one.remedy), []).append(one.file)
    lines: list[str] = []
    for (problem, remedy), files in equal.items():
        together = f"each of {len(files)} ({listing(files, FEW)})"
        named = [together] if len(files) > FEW else files
        lines += [str(Problem(name, problem, remedy)) for name in named]
    more = [f"... and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    count = counted(len(every), "problem")
    raise InputError(
        f"{count} to fix before the run can start (all of them are in {file}):\n  "
        + "\n  ".join([*lines[:SHOWN], *more])
    )


def gigabytes(count: float) -> str:
    """Return a number of bytes as text, in GB and in bytes."""
    return f"{count / 1e9:.2f} GB ({count:.0f} bytes)"
