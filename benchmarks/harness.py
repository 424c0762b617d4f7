"""Compare ours with the published way: a process for each, which take turns, and the result.

Each process prepares once (networks, pools); then it works whenever it is its turn. The time of a
small amount is taken off that of a large one, so that what happens once in a stage does not count:
benchmarks/startup.py measures that.
"""

import argparse
import json
import multiprocessing
import os
import platform
import resource
import runpy
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from material import Material

ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "workflow_scripts"
# Makes an amount of something (photographs, steps) in a new folder.
Work = Callable[[int, Path], Any]
Prepare = Callable[[Material], Work]
PACKAGES = ("torch", "torchvision", "timm", "numpy", "pillow", "onnxruntime", "pydensecrf2")
# The stages run in the process of the benchmark, again and again. A process can lease a GPU only
# once, but in a scheduler's job none is leased.
OURS = {"KUBERNETES_SERVICE_HOST": "none", "I2CRC_WARNINGS_ONLY": "1"}


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return the parser with the options of every benchmark."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        "--photographs",
        type=Path,
        help="folder in VOC layout, or results/NAME of a finished run; left out: the drawn demo",
    )
    parser.add_argument(
        "--configfile",
        type=Path,
        default=ROOT / "config/voc12-small.yaml",
        help="its networks and settings are measured",
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="of the networks")
    parser.add_argument("--repeats", type=int, default=5, help="turns of each side")
    parser.add_argument("--quick", action="store_true", help="two turns with little: a trial")
    parser.add_argument("--output", type=Path, default=Path("results/benchmarks"), help="folder")
    return parser


def compare(
    name: str,
    arguments: argparse.Namespace,
    published: Prepare,
    ours: Prepare,
    amounts: tuple[int, int],
    unit: str = "photographs",
    each: int = 1,
    images: int = 0,
    agreement: Callable[[Path, Path], float] | None = None,
) -> None:
    """Measure both sides in turns, print the result as a table and write it as JSON.

    The time of the smaller of the `amounts` is taken off that of the larger one; 0 takes nothing
    off, and then `published` and `ours` must load all libraries. An amount is `each` of the `unit`,
    of which the result says how many are made in a second. `images` photographs are used (0: as
    many as the larger amount).
    `agreement` compares the folders of both sides after each turn: 1 if the results are equal.
    """
    repeats = 2 if arguments.quick else arguments.repeats
    few, many = amounts
    seconds: dict[str, list[float]] = {"published": [], "ours": []}
    equal: list[float] = []
    with material_of(arguments, images or many) as material:
        sides = {
            "published": Side("published", published, material, {}),
            "ours": Side("ours", ours, material, OURS),
        }
        once = {}
        for key, side in sides.items():
            # The first time, libraries load and choose their kernels.
            times = [side.work(few) for _ in range(4)][1:] if few else [0.0]
            once[key] = statistics.median(times)
        for _ in range(repeats):
            for key, side in sides.items():
                seconds[key].append(side.work(many) - once[key])
            if agreement:
                equal.append(agreement(*(side.folder for side in sides.values())))
        memory = {key: round(side.end(), 2) for key, side in sides.items()}
    made = (many - few) * each
    row = {
        "benchmark": name,
        "unit": f"{unit}/s",
        **{key: made / statistics.median(values) for key, values in seconds.items()},
        **spread(seconds["published"], seconds["ours"]),
        "agreement": statistics.mean(equal) if equal else None,
        "lowest_agreement": min(equal, default=None),
        "memory_gib": memory,
        "amount": made,
        "seconds": seconds,
    }
    report(name, [row], arguments)


def compare_steps(
    network: str,
    arguments: argparse.Namespace,
    published: Prepare,
    ours: Prepare,
    amounts: tuple[int, int],
) -> None:
    """Measure `amounts` of training steps of "classifier" or "segmentation" on 64 photographs."""
    with material_of(arguments, 1) as material:
        settings = getattr(material.config, network)
    batch = settings.batch_size * settings.accumulate
    name = f"train_{network}"
    compare(name, arguments, published, ours, amounts, each=batch, images=64)


def spread(published: list[float], ours: list[float]) -> dict[str, Any]:
    """Return how many times faster ours is: the median of the pairs, the lowest and the highest."""
    ratios = [first / second for first, second in zip(published, ours, strict=True)]
    return {"ratio": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios)}


@contextmanager
def material_of(arguments: argparse.Namespace, images: int) -> Iterator[Material]:
    """Yield the material of a benchmark, in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="i2crc-") as folder:
        yield Material(
            arguments.photographs and arguments.photographs.absolute(),
            arguments.configfile,
            Path(folder),
            images,
            arguments.device,
            cores(),
        )


class Side:
    """A process that prepares, and then works when it is asked to."""

    def __init__(
        self,
        name: str,
        prepare: Prepare,
        material: Material,
        environment: dict[str, str],
    ) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.connection, other = spawn.Pipe()
        self.folder = material.folder / f"made-{name}"
        self.process = spawn.Process(target=_serve, args=(prepare, material, self.folder, other))
        before = dict(os.environ)
        os.environ.update(environment)  # before the process loads a library that reads it
        try:
            self.process.start()
        finally:
            os.environ.clear()
            os.environ.update(before)
        other.close()
        self._answer()  # it is prepared, and what both sides read is made

    def work(self, amount: int) -> float:
        """Return the seconds that an amount takes."""
        return self._ask(amount)

    def end(self) -> float:
        """End the process; return its peak memory in GiB."""
        peak = self._ask(None)
        self.process.join()
        return peak

    def _ask(self, request: int | None) -> float:
        self.connection.send(request)
        return self._answer()

    def _answer(self) -> float:
        try:
            return self.connection.recv()
        except (EOFError, ConnectionError):
            sys.exit(f"{self.folder.name}: the process has failed; its error stands above")


def _serve(prepare: Prepare, material: Material, folder: Path, connection: Any) -> None:
    """Work on the amounts that come; answer with the seconds, and at last with the peak memory."""
    multiprocessing.set_start_method(None, force=True)  # what a stage starts, it starts as usual
    try:
        _take_turns(prepare(material), material, folder, connection)
    except BaseException as error:
        if isinstance(error, Exception):
            traceback.print_exc()
        # At once: multiprocessing would wait for data-loading processes, which ignore its SIGTERM.
        os._exit(1)


def _take_turns(work: Work, material: Material, folder: Path, connection: Any) -> None:
    connection.send(0.0)
    while (amount := connection.recv()) is not None:
        material.index_file(amount)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        begin = time.perf_counter()
        work(amount, folder)
        if torch := gpu_torch():
            torch.cuda.synchronize()
        connection.send(time.perf_counter() - begin)
    connection.send(peak_memory())


def run_stage(script: str, *options: Any) -> None:
    """Run the script of a stage in this process, with the options that its rule gives it."""
    path = str(SCRIPTS / script)
    sys.argv = [path, *map(str, options)]
    runpy.run_path(path, run_name="__main__")


def device_options(material: Material) -> list[Any]:
    """Return the options of a stage for device and threads."""
    return ["--gpus", int(material.device == "cuda"), "--threads", material.threads]


def shard_options(material: Material, amount: int, folder: Path) -> list[Any]:
    """Return the options of a stage that makes files of each photograph."""
    manifest = folder.with_suffix(".json")
    manifest.unlink(missing_ok=True)
    manifest.with_suffix(".journal").unlink(missing_ok=True)
    index = material.index_file(amount)
    return ["--index", index, "--folder", folder, "--manifest", manifest]


def equal_pixels(first: Path, second: Path, levels: int = 0) -> float:
    """Return the share of pixels of the PNGs of two folders that differ by at most `levels`."""
    import numpy as np
    from PIL import Image

    names = sorted(path.name for path in first.glob("*.png"))
    if names != sorted(path.name for path in second.glob("*.png")) or not names:
        sys.exit(f"{first.name} and {second.name}: not the same files")
    equal = total = 0
    for name in names:
        one, other = (np.asarray(Image.open(folder / name), int) for folder in (first, second))
        equal += int((np.abs(one - other) <= levels).sum())
        total += one.size
    return equal / total


# The result ---------------------------------------------------------------------------------------


def report(name: str, rows: list[dict[str, Any]], arguments: argparse.Namespace) -> None:
    """Print the rows of a benchmark as a table; write them, with the machine, as NAME.json."""
    print(table(rows), flush=True)
    arguments.output.mkdir(parents=True, exist_ok=True)
    facts = machine(getattr(arguments, "device", "cpu"))
    options = {key: str(value) for key, value in vars(arguments).items() if value is not None}
    content = {"machine": facts, "options": options, "rows": rows}
    (arguments.output / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")


def seconds_figures(times: list[float]) -> dict[str, str]:
    """Return the figures of a row for some measured seconds."""
    median = statistics.median(times)
    return {
        "median s": f"{median:.2f}",
        "lowest": f"{min(times):.2f}",
        "highest": f"{max(times):.2f}",
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Return rows as Markdown; a row has the keys of `compare` or "figures", name -> text."""
    lines = []
    compared = [row for row in rows if "ratio" in row]
    if compared:
        lines += [
            "| Benchmark | published | ours | unit | ratio | lowest-highest | equal | GiB, both |",
            "|---|---:|---:|---|---:|---|---:|---|",
        ]
    for row in compared:
        equal = "" if row["agreement"] is None else f"{row['agreement']:.3%}"
        memory = " / ".join(f"{value:.1f}" for value in row["memory_gib"].values())
        lines.append(
            f"| {row['benchmark']} | {row['published']:.3g} | {row['ours']:.3g} | {row['unit']} "
            f"| {row['ratio']:.2f} | {row['lowest']:.2f}-{row['highest']:.2f} "
            f"| {equal} | {memory} |"
        )
    others = [row for row in rows if "figures" in row]
    columns: list[str] = []
    for row in others:
        if list(row["figures"]) != columns:
            columns = list(row["figures"])
            lines += ["", f"| {row['table']} | {' | '.join(columns)} |"]
            lines.append("|---|" + "---:|" * len(columns))
        lines.append(f"| {row['benchmark']} | {' | '.join(row['figures'].values())} |")
    return "\n".join(lines).strip()


def machine(device: str) -> dict[str, Any]:
    """Return the facts of this machine that speed depends on."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].partition(":")[2].strip() if lines else model
    facts = {"processor": model, "cores": cores(), "python": platform.python_version()}
    if device == "cuda":
        query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
        facts["gpu"] = subprocess.run(query, capture_output=True, text=True).stdout.strip()
    return facts | {name: version(name) for name in PACKAGES}


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


def peak_memory() -> float:
    """Return the peak memory of this process in GiB: of its GPU if it used one, else resident."""
    if torch := gpu_torch():
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def gpu_torch() -> Any:
    """Return torch if this process has used a GPU with it, else None."""
    torch = sys.modules.get("torch")
    return torch if torch and torch.cuda.is_initialized() else None
