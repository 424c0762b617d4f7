"""Seconds until stages begin: `--help`, a stage that has nothing to do, stages with a network.

Each command is a new process, as Snakemake starts it. "nothing to do" is gen_gt on photographs
whose labels it has made. "network ready" is infer_cam for one photograph.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import harness
from material import Material

HELP = ("labels/gen_gt.py", "segmentation/predict.py", "segmentation/train_segmentation.py")
IMAGES = 8


def commands(material: Material) -> dict[str, list[str]]:
    """Return what is measured: name -> command line."""
    folder = material.folder
    labels = [
        *["labels/gen_gt.py", *harness.shard_options(material, IMAGES, folder / "labels")],
        *["--cams", material.manifest(material.attention())],
        *["--saliency", material.manifest(material.saliency())],
    ]
    cams = [
        *["classifier/infer_cam.py", *harness.shard_options(material, 1, folder / "cams")],
        *["--weights", material.weights("classifier"), *harness.device_options(material)],
    ]
    logits = [
        *["segmentation/crf.py", *harness.shard_options(material, 1, folder / "crf")],
        *["--logits", material.manifest(material.logits(3))],
    ]
    return {
        **{f"--help of {script}": in_process([script, "--help"]) for script in HELP},
        "nothing to do (gen_gt)": in_process(labels),
        "network ready, one photograph (infer_cam)": in_process(cams),
        "one photograph with 3 labels (crf)": in_process(logits),
        "empty Python process": [sys.executable, "-c", ""],
    }


def in_process(words: list) -> list[str]:
    """Return the command line of a script."""
    return [sys.executable, str(harness.SCRIPTS / words[0]), *map(str, words[1:])]


def seconds_of(command: list[str], folder: Path) -> float:
    """Return the seconds of a command; what shards have made is deleted, but for gen_gt."""
    for name in ("cams", "crf"):
        (folder / name).with_suffix(".journal").unlink(missing_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(harness.SCRIPTS)}
    begin = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr}")
    return time.perf_counter() - begin


if __name__ == "__main__":
    arguments = harness.parser(__doc__).parse_args()
    rows = []
    with harness.material_of(arguments, IMAGES) as material:
        for name, command in commands(material).items():
            seconds_of(command, material.folder)
            repeats = range(2 if arguments.quick else arguments.repeats)
            times = [seconds_of(command, material.folder) for _ in repeats]
            figures = harness.seconds_figures(times)
            rows.append({"table": "Start", "benchmark": name, "figures": figures, "seconds": times})
    harness.report("startup", rows, arguments)
