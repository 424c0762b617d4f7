"""Run both sides of benchmarks on a few photographs, in this process; print how far they agree.

The arguments are a folder in VOC layout, a configuration, a folder for what is made, and the names
of benchmarks. The output is JSON: name -> agreement; null for a training, which makes no files that
could be compared.
"""

import contextlib
import importlib
import json
import sys
from functools import partial
from pathlib import Path

from material import Material

IMAGES = 2


def agreement(name: str, photographs: Path, configuration: Path, folder: Path) -> float | None:
    """Let both sides of a benchmark make the same; return their agreement."""
    benchmark = importlib.import_module(name)
    material = Material(photographs, configuration, folder, IMAGES, "cpu", 1)
    labels = {"labels": len(material.index.classes) + 1} if name == "crf" else {}
    is_training = name.startswith("train_")
    made = [folder / "published", folder / "ours"]
    for place in made:
        place.mkdir(parents=True)
        work = partial(getattr(benchmark, place.name), **labels)(material)
        work(1 if is_training else IMAGES, place)
    return None if is_training else benchmark.agreement(*made)


if __name__ == "__main__":
    photographs, configuration, folder = map(Path, sys.argv[1:4])
    with contextlib.redirect_stdout(sys.stderr):
        found = {
            name: agreement(name, photographs, configuration, folder / name)
            for name in sys.argv[4:]
        }
    print(json.dumps(found))
