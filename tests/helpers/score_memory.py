"""Whether the memory of scoring grows with the number of images.

Prints the peak memory of `score.py` for each number of synthetic images, and the ratio of the last
to the first.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

SCRIPT = Path(__file__).parents[2] / "workflow_scripts" / "evaluation" / "score.py"
CLASSES = 80
# In a small process of its own, because the peak of a child starts with the size of its parent.
PEAK = (
    "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True);"
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
)


def write_images(folder: Path, count: int, size: int) -> None:
    """Write masks and labels of `size` x `size` random blocks, with their index and manifest."""
    rng = np.random.default_rng(0)
    entries, names = [], {}
    for kind in ("masks", "labels"):
        (folder / kind).mkdir()
    for number in range(count):
        name = f"{number:06d}.png"
        for kind in ("masks", "labels"):
            blocks = rng.integers(0, CLASSES + 1, (4, 4)).astype(np.uint8)
            Image.fromarray(blocks).resize((size, size), Image.NEAREST).save(folder / kind / name)
        mask = str(folder / "masks" / name)
        facts = {"classes": [0], "width": size, "height": size, "sha256": ""}
        entries.append({"id": f"{number:06d}", "image": mask, "mask": mask, **facts})
        names[name] = ""
    classes = [f"class {number}" for number in range(CLASSES)]
    index = {"split": "val", "classes": classes, "images": entries}
    (folder / "index.json").write_text(json.dumps(index))
    (folder / "manifest.json").write_text(json.dumps({"folder": "labels", "files": names}))


def peak_mib(count: int, size: int, threads: int) -> float:
    """Return the peak resident memory of scoring `count` images, in MiB."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_images(folder, count, size)
        score = [sys.executable, str(SCRIPT), "--stage", "memory", "--threads", str(threads)]
        score += ["--index", f"{folder}/index.json", "--manifests", f"{folder}/manifest.json"]
        score += ["--output", f"{folder}/scores.json", "--images-csv", f"{folder}/images.csv"]
        command = [sys.executable, "-c", PEAK, *score]
        return int(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout) / 1024


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--size", type=int, default=128, help="side of an image in pixels")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    peaks = [peak_mib(count, options.size, options.threads) for count in options.images]
    for count, peak in zip(options.images, peaks, strict=True):
        print(f"{count} images: {peak:.1f} MiB")
    print(f"ratio {peaks[-1] / peaks[0]:.2f}")
