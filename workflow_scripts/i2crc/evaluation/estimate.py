"""Estimate the time of a run from some of its steps, measured on this machine, and its disk."""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import default_collate

from i2crc.artifacts.provenance import Origin
from i2crc.config.schema import Config, Saliency, Weights
from i2crc.data.images import read_photo, write_gray, write_label
from i2crc.data.index import Index
from i2crc.data.transforms import IMAGENET
from i2crc.evaluation.amount import Amount
from i2crc.inference.prediction import predict_batch, predict_logits, predicts_in_half
from i2crc.inference.saliency import load_saliency, saliency_map
from i2crc.labels.cam import attention_maps, class_maps
from i2crc.labels.crf_memory import LABEL, PIXEL, WORKER
from i2crc.labels.dense_crf import crf_label
from i2crc.models.cam_classifier import build_classifier
from i2crc.models.deeplab import build_segmentation
from i2crc.models.pretrained import insert, load_pretrained
from i2crc.models.weight_files import saliency_network
from i2crc.runtime.memory import free_memory
from i2crc.training import distributed
from i2crc.training.classifier import ClassifierSamples
from i2crc.training.loop import TrainingRun
from i2crc.training.options import Plan
from i2crc.training.samples import Samples, loading_workers
from i2crc.training.segmentation import SegmentationSamples

# Seconds that a step is repeated for.
REPEATED = 1.0
# Side of the part of a photograph that the CRF is measured on: its time grows with the pixels.
CRF_SIDE = 320
# Labels of a photograph that are likely to a trained network: the mean of 81 of VOC val.
LIKELY = 5
# Images of a measured step on the CPU, where the time grows with them.
MEASURED_BATCH = 4
# Seconds of a job beside its script's imports and work: Snakemake's, and the start of Python.
JOB = 0.7
# Jobs that do not depend on the shards: data, checks, scores, sweeps, figures.
OTHER_JOBS = 22
# Seconds in which the figures are drawn.
FIGURES = 15
# Seconds of a core for a megapixel: the labels of both rounds; a score; all sweeps. Of 311 VOC
# photographs on an EPYC.
LABELS, SCORE, SWEEPS = 0.3, 0.15, 1.2
# Bytes of a pixel of what is written for a photograph: saliency map, attention map of a class,
# label, working copy (JPEG). Of the same photographs.
SALIENCY_BYTES, ATTENTION_BYTES, LABEL_BYTES, WORKING_BYTES = 0.1, 0.03, 0.01, 0.6
# What the file system loses in a file.
HALF_BLOCK = 2048
# Tables, figures, logs and curves.
OTHER_BYTES = 20e6


@dataclass(frozen=True)
class Steps:
    """Measured seconds of a job's imports, of an iteration, of a photograph on one thread.

    `crf` are the seconds of a megapixel, in train and in val. `parameters` are those of classifier
    and segmentation.
    """

    start: float
    classifier: float
    segmentation: float
    cam: float
    predict: float
    crf: tuple[float, float]
    saliency: float
    parameters: tuple[int, int]


def measure(
    config: Config, index: Index, folder: Path, cores: int, gpus: int, start: float
) -> Steps:
    """Return the seconds of some steps on this machine, which takes about 15 s.

    `index` holds some photographs, `folder` gets files. `start` are the seconds of the imports.
    """
    threads = min(config.runtime.training_threads, cores)
    device = distributed.start(gpus, threads)
    classifier = build_classifier(config.classifier, len(index.classes))
    network = build_segmentation(config.segmentation, len(index.classes))
    preprocessing = [
        _initialise(features, settings.weights, settings.backbone)
        for features, settings in (
            (classifier.features, config.classifier),
            (network.base.features, config.segmentation),
        )
    ]
    labels, maps = _draw_files(index, folder)
    first = ClassifierSamples(index, maps, config.classifier, preprocessing[0])
    second = SegmentationSamples(index, labels, config.segmentation, preprocessing[1])
    classifier_step = _iteration(classifier, "extra_convs", first, config, device, cores)
    segmentation_step = _iteration(network, "base.classifier", second, config, device, cores)

    classifier.eval().in_half = predicts_in_half(config.classifier.precision, device)
    network.eval().in_half = predicts_in_half(config.segmentation.precision, device)
    torch.set_num_threads(1)
    one = int(device.type == "cpu")
    entry = max(index.images, key=lambda entry: len(entry.classes or ()))
    photo = read_photo(Path(entry.image))
    pixels = np.asarray(photo)
    logits = predict_logits(network, pixels, preprocessing[1])
    part, stride = pixels[:CRF_SIDE, :CRF_SIDE], config.segmentation.output_stride
    rows, columns = (-(-side // stride) for side in part.shape[:2])
    small = logits[:, :rows, :columns]
    is_all = config.crf.labels == "all"
    crf_label(part[:1, :1], small[:, :1, :1], config.crf)  # the first call may compile

    def crf(classes: Sequence[int] | None) -> float:
        given = None if is_all else classes
        seconds = _seconds(lambda: crf_label(part, small, config.crf, given), 1)
        return seconds * 1e6 / (part.shape[0] * part.shape[1])

    def infer_cam() -> None:
        size = config.classifier.input_size
        cam = class_maps(classifier, entry, size, preprocessing[0], config.cam)
        if entry.classes:
            attention_maps(cam, pixels.shape[:2])

    def predict() -> None:
        predict_batch(network, [pixels], preprocessing[1], **config.prediction.model_dump())

    return Steps(
        start=start,
        classifier=classifier_step,
        segmentation=segmentation_step,
        cam=_seconds(infer_cam, one),
        predict=_seconds(predict, one),
        # A network that has learnt nothing says of no class that it is likely.
        crf=(crf(entry.classes), crf(range(min(LIKELY, len(index.classes))))),
        saliency=_saliency_seconds(config.saliency, photo, gpus),
        parameters=(_parameters(classifier), _parameters(network)),
    )


def _draw_files(index: Index, folder: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """Write a label and a saliency map for each photograph; return their paths by id."""
    labels, maps = {}, {}
    for number, entry in enumerate(index.images):
        stripes = np.indices(entry.size[::-1])[1] // 32
        labels[entry.id] = folder / f"{number}_label.png"
        write_label(labels[entry.id], stripes % (1 + len(index.classes)), entry.own_size)
        maps[entry.id] = folder / f"{number}_map.png"
        write_gray(maps[entry.id], (stripes * 8 % 256).astype(np.uint8))
    return labels, maps


def _initialise(features: torch.nn.Module, weights: Weights, backbone: str) -> Any:
    """Load pretrained weights that are on this machine; return their preprocessing.

    Others would be fetched. The time of a step does not depend on them.
    """
    if weights.source not in ("package", "file"):
        return IMAGENET
    pretrained = load_pretrained(weights, backbone)
    insert(features, pretrained)  # with random ones, a CPU computes very small numbers, slowly
    return pretrained.preprocessing


def _iteration(
    model: torch.nn.Module,
    head: str,
    samples: Samples,
    config: Config,
    device: torch.device,
    cores: int,
) -> float:
    """Return the seconds of an iteration of a training, with the time to load its images."""
    settings, on_cpu = samples.settings, device.type == "cpu"
    images = min(settings.batch_size, MEASURED_BATCH) if on_cpu else settings.batch_size
    less = settings.model_copy(update={"batch_size": images, "accumulate": 1})
    plan = Plan(less, 10**6, 0, False, Origin(Path(__file__), [], less), {}, Path(), config.runtime)
    positions = [(0, 0, number % len(samples)) for number in range(images)]
    load = _seconds(lambda: samples[positions[0]], 1)
    batch = default_collate([samples[position] for position in positions])
    run = TrainingRun(plan, device, model, head, samples)
    run.settle_precision()
    run.train_mode()
    threads = torch.get_num_threads() if on_cpu else 0

    def one_step() -> None:
        run.step(model, iter([batch]))
        run.read()  # waits for the GPU

    step = _seconds(one_step, threads) / images
    # Where the cores compute, those that load images take their time.
    together = step + load / cores if on_cpu else step
    loaders = min(max(1, loading_workers(config.runtime.workers, not on_cpu)), cores)
    return max(together, load / loaders) * settings.batch_size * settings.accumulate


def _saliency_seconds(saliency: Saliency, photo: Any, gpus: int) -> float:
    """Return the seconds to compute a saliency map; 0 if the maps are given."""
    if saliency.location:
        return 0.0
    path, _ = saliency_network(saliency.model)
    session = load_saliency(path, saliency.model, gpus)
    return _seconds(lambda: saliency_map(session, photo, saliency.model), int(not gpus))


def _seconds(work: Callable[[], object], threads: int) -> float:
    """Return the seconds of a call with a number of CPU threads; 0 threads mean a GPU.

    It is the median after a first call, which prepares what is kept. While other programs use the
    cores, it is the middle between what a call takes now and what it would take without them.
    """
    walls: list[float] = []
    busy: list[float] = []
    while len(walls) < 3 or sum(walls) < REPEATED:
        begin, begin_busy = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - begin)
        busy.append(time.process_time() - begin_busy)
        if sum(walls) > 3 * REPEATED:
            break
    wall = statistics.median(walls[1:] or walls)
    alone = statistics.median(busy[1:] or busy) / threads if threads else wall
    return math.sqrt(wall * min(wall, alone))


def _parameters(model: torch.nn.Module) -> int:
    return sum(values.numel() for values in model.parameters())


def iterations_of_classifier(config: Config, train: int) -> int:
    """Return the number of steps of the classifier's training."""
    settings = config.classifier
    per_epoch = max(1, train // settings.batch_size)
    steps = max(1, settings.epochs * per_epoch // settings.accumulate)
    return min(steps, settings.max_iterations or steps)


def stage_seconds(
    config: Config, amount: Amount, steps: Steps, cores: int, gpus: int, memory: int | None = None
) -> dict[str, float]:
    """Return the seconds of each part of a run with `cores` and `gpus`.

    `memory` are the bytes that are free, by default those of this machine.
    """
    threads = min(config.runtime.inference_threads, cores)
    at_once = max(1, cores // threads)
    on_gpu = min(at_once, max(1, gpus))
    memory = free_memory() if memory is None else memory
    worker = WORKER + amount.megapixels * 1e6 * (PIXEL + LABEL * (1 + amount.classes))
    workers = max(1, min(threads, int(memory / min(at_once, config.shards) / worker)))
    train, val, megapixels = amount.train, amount.val, amount.megapixels

    def sharded(photographs: int, each: float, jobs: int, threads: int = threads) -> float:
        """Return the seconds of a stage with `jobs` of its shards at a time."""
        if not photographs:
            return 0
        rounds = -(-config.shards // jobs)
        work = photographs * each / (threads * min(jobs, config.shards))
        return rounds * (JOB + steps.start) + work

    single = JOB + steps.start
    segmentation = single + config.segmentation.iterations * steps.segmentation
    is_full = config.segmentation.supervision == "full"
    one_round = config.rounds == 1 and not is_full
    labels = train * LABELS * max(megapixels, amount.own_megapixels / 4)
    if amount.masks:
        labels += megapixels * (train * (SWEEPS + 5 * SCORE) + val * 2 * SCORE)
    seconds = {
        "check the photographs": (train + val) * amount.decode / threads + single,
        "saliency maps": sharded(train * amount.saliency, steps.saliency, on_gpu),
        "train the classifier": single + iterations_of_classifier(config, train) * steps.classifier,
        "attention maps": sharded(train, steps.cam, on_gpu),
        "train the first segmentation network": segmentation,
        "its predictions": sharded(train, steps.predict, on_gpu),
        "their CRF": sharded(train, steps.crf[0] * megapixels, at_once, workers),
        "train the final segmentation network": 0 if one_round else segmentation,
        "predictions of val": sharded(val, steps.predict, on_gpu),
        "CRF of val": sharded(val, steps.crf[1] * megapixels, at_once, workers),
        "labels, scores, report": labels / cores
        + (OTHER_JOBS + 2 * config.shards) * JOB / min(at_once, 4)
        + single
        + FIGURES,
    }
    if is_full:
        wanted = ("check", "train the final", "predictions of val", "CRF of val", "labels")
        seconds = {name: value for name, value in seconds.items() if name.startswith(wanted)}
    return {name: value for name, value in seconds.items() if value}


def disk_bytes(config: Config, amount: Amount, steps: Steps) -> float:
    """Return the bytes that a finished run takes."""
    pixels, own = amount.megapixels * 1e6, amount.own_megapixels * 1e6
    stride = config.segmentation.output_stride / max(config.prediction.scales)
    logits = 2 * (1 + amount.classes) * pixels / stride**2
    predicted = logits + 2 * own * LABEL_BYTES + 3 * HALF_BLOCK
    maps = pixels * (SALIENCY_BYTES + amount.each * ATTENTION_BYTES)
    made = maps + 2 * own * LABEL_BYTES + (3 + amount.each) * HALF_BLOCK
    working = pixels * WORKING_BYTES if own > pixels else 0
    images = amount.train * (predicted + made) + amount.val * predicted
    images += (amount.train + amount.val) * working
    # Weights are in the folder of their run and published; the last ones are in a model file, too.
    classifier, segmentation = steps.parameters
    return images + 4 * (2 * classifier + 5 * segmentation) + OTHER_BYTES
