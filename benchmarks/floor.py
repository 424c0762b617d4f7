"""How fast the stages could be: arithmetic and files over the rates that this machine reaches.

The floor of a stage is the time of its convolutions and matrix products, at the rate of one large
product, or that of decoding and encoding its files on all cores, whichever is longer. A step of a
training counts as three forward passes, also with frozen layers. Beside the floor stands what the
other benchmarks in --output have measured.
"""

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness
from material import Material

SIDE = 2048  # of the product of two square matrices whose rate is that of arithmetic
PHOTOGRAPHS = 8
# Files that a stage reads (r) and writes (w) for a photograph; an attention map is one of each of
# its classes.
FILES = {
    "train_classifier": ("photo r", "map r"),
    "infer_cam": ("photo r", "attention w"),
    "gen_gt": ("attention r", "map r", "label w"),
    "train_segmentation": ("photo r", "label r"),
    "predict": ("photo r", "label w"),
    "refine_labels": ("label r", "label r", "label w"),
    "score": ("label r", "label r"),
}


def main(material: Material, device: str, output: Path) -> list[dict[str, Any]]:
    """Return a row for each stage."""
    rate, files = product_rate(device, material.threads), file_seconds(material)
    operations = network_operations(material, device)
    rows = []
    for stage, names in FILES.items():
        decoding = sum(files[name] for name in names) / material.threads
        arithmetic = operations.get(stage, 0) / rate
        floor = 1 / max(decoding, arithmetic)
        measured = output / f"{stage}.json"
        ours = json.loads(measured.read_text())["rows"][0]["ours"] if measured.is_file() else None
        figures = {
            "GFLOP": f"{operations.get(stage, 0) / 1e9:.3g}",
            "arithmetic ms": f"{arithmetic * 1e3:.3g}",
            "files ms": f"{decoding * 1e3:.3g}",
            "floor, photographs/s": f"{floor:.3g}",
            "ours": f"{ours:.3g}" if ours else "",
            "share of the floor": f"{ours / floor:.0%}" if ours else "",
        }
        title = f"{rate / 1e9:.0f} GFLOP/s"
        rows.append({"table": title, "benchmark": stage, "floor": floor, "figures": figures})
    return rows


def product_rate(device: str, threads: int) -> float:
    """Return the operations in a second of a float32 matrix product on the device."""
    import torch

    torch.set_num_threads(threads)
    matrix = torch.randn(SIDE, SIDE, device=device)

    def multiply() -> None:
        (matrix @ matrix)[0, 0].item()

    return 2 * SIDE**3 / median_seconds(multiply)


def file_seconds(material: Material) -> dict[str, float]:
    """Return the mean seconds of one core for each kind of file of a photograph."""
    from i2crc.data.images import read_gray, read_label, read_photo, write_gray, write_label

    entries = material.entries(PHOTOGRAPHS)
    saliency, attention, initial = material.saliency(), material.attention(), material.initial()
    written = material.folder / "written.png"

    def mean(work: Callable[[Any], Any]) -> float:
        return sum(median_seconds(lambda entry=entry: work(entry)) for entry in entries) / len(
            entries
        )

    def attention_maps(entry: Any) -> list[Path]:
        return [attention / f"{entry.id}_{c}.png" for c in entry.classes or ()]

    labels = {entry.id: read_label(initial / f"{entry.id}.png") for entry in entries}
    maps = {entry.id: [read_gray(path) for path in attention_maps(entry)] for entry in entries}
    return {
        "photo r": mean(lambda entry: read_photo(Path(entry.image))),
        "map r": mean(lambda entry: read_gray(saliency / f"{entry.id}.png")),
        "attention r": mean(lambda entry: [read_gray(path) for path in attention_maps(entry)]),
        "attention w": mean(lambda entry: [write_gray(written, one) for one in maps[entry.id]]),
        "label r": mean(lambda entry: read_label(initial / f"{entry.id}.png")),
        "label w": mean(lambda entry: write_label(written, labels[entry.id])),
    }


def network_operations(material: Material, device: str) -> dict[str, float]:
    """Return the operations for a photograph of the stages with a network, as torch counts them."""
    import numpy as np
    import torch
    from torch.utils.data import default_collate
    from torch.utils.flop_counter import FlopCounterMode

    from i2crc.data.images import read_photo
    from i2crc.inference.prediction import load_classifier, load_segmentation, predict_logits
    from i2crc.labels.cam import class_maps
    from i2crc.training.classifier import ClassifierSamples
    from i2crc.training.segmentation import SegmentationSamples

    config, on = material.config, torch.device(device)
    counted = {}

    def count(stage: str, photographs: int, work: Callable[[], Any]) -> None:
        with FlopCounterMode(display=False) as counter:
            work()
        counted[stage] = counter.get_total_flops() / photographs

    def train(stage: str, model: torch.nn.Module, samples: Any) -> None:
        size = samples.settings.batch_size
        positions = [(0, 0, number % len(samples)) for number in range(size)]
        images = default_collate([samples[position]["image"] for position in positions]).to(on)
        # The gradients take twice as many as the output; torch counts those of groups wrongly.
        with torch.no_grad():
            count(stage, size, lambda: model(images))
        counted[stage] *= 3

    entry = material.entries(1)[0]
    photo = np.asarray(read_photo(Path(entry.image)))
    classifier, settings, preparation = load_classifier(material.weights("classifier"), on)
    size = settings.input_size
    count("infer_cam", 1, lambda: class_maps(classifier, entry, size, preparation, config.cam))
    maps = {path.stem: path for path in material.saliency().iterdir()}
    samples = ClassifierSamples(material.index, maps, config.classifier, preparation)
    train("train_classifier", classifier, samples)
    network, preparation = load_segmentation(material.weights("segmentation"), on)
    count("predict", 1, lambda: predict_logits(network, photo, preparation))
    labels = {path.stem: path for path in material.initial().iterdir()}
    others = SegmentationSamples(material.index, labels, config.segmentation, preparation)
    train("train_segmentation", network, others)
    return counted


def median_seconds(work: Callable[[], Any]) -> float:
    """Return the median seconds of 5 calls, after one."""
    times = []
    for _ in range(6):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return statistics.median(times[1:])


if __name__ == "__main__":
    arguments = harness.parser(__doc__).parse_args()
    with harness.material_of(arguments, PHOTOGRAPHS) as material:
        harness.report("floor", main(material, arguments.device, arguments.output), arguments)
