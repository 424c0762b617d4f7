"""Kill a run at random moments and start it again with the same command, until it has ended.

Then compare its results with those of a run that was never interrupted. See README.md.
"""

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil

from helpers.project import Project, environment

SETTINGS = {
    "deterministic": True,
    "classifier": {"epochs": 4},
    "segmentation": {"iterations": 8},
    "runtime": {
        "workers": 1,
        "checkpoint_seconds": 0.001,
        "training_threads": 2,
        "inference_threads": 2,
    },
}
# Which processes receive which signal. A terminal sends SIGINT to its whole process group.
KINDS = {
    "kill snakemake": ("snakemake", signal.SIGKILL),
    "kill all": ("all", signal.SIGKILL),
    "kill stage": ("stage", signal.SIGKILL),
    "kill worker": ("worker", signal.SIGKILL),
    "term snakemake": ("snakemake", signal.SIGTERM),
    "term all": ("all", signal.SIGTERM),
    "ctrl-c": ("all", signal.SIGINT),
}
WITH_WORKERS = ("train_classifier", "train_segmentation", "crf")
# What a user who starts the run again must never read.
FORBIDDEN = ("--unlock", "Traceback", "IncompleteFiles", "--forceall", "unexpected error")
# Python prints this if Ctrl-C interrupts its imports, before any code of ours runs.
INTERRUPTED_IMPORT = re.compile(
    r"Traceback \(most recent call last\):(?:(?!\n\w+(?:Error|Exception)).)*?\nKeyboardInterrupt",
    re.DOTALL,
)
COMPARED = (
    "data",
    "saliency",
    "classifier",
    "cams",
    "labels",
    "segmentation",
    "predictions",
    "crf",
    "scores",
    "sweeps",
    "quality",
)
NOT_COMPARED = (".journal", ".provenance")  # with times, process ids or absolute paths
PATIENCE = 600  # seconds after which a run counts as hung


class KilledRun:
    """One start of the documented command, in a process group of its own."""

    def __init__(self, command: list[str], folder: Path, output: Path) -> None:
        self.folder, self.output, self.seen = folder, output, 0
        self.known: dict[psutil.Process, str] = {}
        with open(output, "wb") as file:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment(folder),
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def text(self) -> str:
        """Return what it has printed so far."""
        return self.output.read_text(errors="replace")

    def begun(self) -> list[str]:
        """Return the names of the stages that were seen at work, in order."""
        self.known |= self.stages()
        return list(self.known.values())

    def members(self) -> list[psutil.Process]:
        """Return the living processes of its group."""
        return [p for p in psutil.process_iter() if _group(p) == self.process.pid]

    def stages(self) -> dict[psutil.Process, str]:
        """Return the processes of the stages at work, and the stages' names."""
        found = {}
        for process in self.members():
            name = _stage(process)
            if name and not _stage(_parent(process)):
                found[process] = name
        return found

    def workers(self) -> list[psutil.Process]:
        """Return the data loaders and pool processes of its stages."""
        return [
            child
            for stage in self.stages()
            for child in _children(stage)
            if "resource_tracker" not in " ".join(_command(child))
        ]

    def at_work(self) -> str:
        """Return the names of the stages at work."""
        return ", ".join(sorted(self.stages().values())) or "no stage"

    def hit(self, whom: str, number: int) -> str | None:
        """Send a signal; return the names of the stages at work, None if the run has ended."""
        running = self.at_work()
        if self.process.poll() is not None:
            return None
        try:
            if whom == "all":
                os.killpg(self.process.pid, number)
            elif whom == "snakemake":
                self.process.send_signal(number)
            else:
                victims = self.workers() if whom == "worker" else list(self.stages())
                if not victims:
                    return None
                victims[0].send_signal(number)
        except (ProcessLookupError, psutil.NoSuchProcess):
            return None
        return running


def _group(process: psutil.Process) -> int | None:
    try:
        return os.getpgid(process.pid) if process.status() != psutil.STATUS_ZOMBIE else None
    except (ProcessLookupError, psutil.Error):
        return None


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _stage(process: psutil.Process | None) -> str | None:
    """Return the name of the stage whose script a process runs, or is a fork of."""
    words = _command(process) if process else []
    scripts = [Path(w).stem for w in words[1:2] if "workflow_scripts/" in w]
    return scripts[0] if scripts else None


def _parent(process: psutil.Process) -> psutil.Process | None:
    try:
        return process.parent()
    except psutil.Error:
        return None


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def contents(results: Path) -> dict[str, str]:
    """Return the digest of every compared file; of JSON, without the provenance."""
    found = {}
    for folder in COMPARED:
        for path in sorted((results / folder).rglob("*")):
            name = path.relative_to(results)
            undeclared = {"run", "cache", ".kept"} & {*name.parts}
            if undeclared or path.suffix in NOT_COMPARED or not path.is_file():
                continue
            data = path.read_bytes()
            if path.suffix == ".json":
                value = json.loads(data)
                value.pop("provenance", None)
                data = json.dumps(value, sort_keys=True).encode()
            found[str(name)] = hashlib.sha256(data).hexdigest()
    return found


class Soak:
    """Rounds of one project, each killed again and again until it has ended."""

    kinds = tuple(KINDS)

    def __init__(
        self,
        folder: Path,
        reference: Path,
        settings: dict,
        kills: int,
        seed: int,
        targets: tuple[str, ...] = (),
    ) -> None:
        self.settings, self.targets, self.wanted = settings, targets, kills
        self.reference, self.seconds = contents(reference), durations(reference)
        self.random = random.Random(seed)
        self.project = Project.new(folder / "project")
        self.outputs = folder / "outputs"
        self.outputs.mkdir()
        self.kills: list[tuple[str, str]] = []
        self.problems: list[str] = []
        self.runs: list[KilledRun] = []

    def run(self) -> None:
        """Run rounds until there were enough kills."""
        self.round()
        while not self.enough():
            for name in ("results", ".snakemake"):
                shutil.rmtree(self.project.folder / name)
            self.round()

    def enough(self) -> bool:
        """Return whether there were as many kills as wanted, and all kinds of them."""
        return len(self.kills) >= self.wanted and {kind for kind, _ in self.kills} == {*self.kinds}

    def start(self, output: Path) -> KilledRun:
        """Start the command."""
        command = self.project.command(*self.targets, settings=self.settings)
        return KilledRun(command, self.project.folder, output)

    def round(self) -> None:
        """Run from no results to the end, then compare."""
        self.restarts = 0
        while True:
            output = self.outputs / f"{len(self.runs):04d}.log"
            run = self.start(output)
            self.runs.append(run)
            # A run survives the kill of a worker, and SIGTERM until its jobs end: hit it again.
            while not self.enough() and run.process.poll() is None:
                self.kill(run)
            code = self.wait(run)
            self.look(run)
            if code == 0:
                break
            self.restarts += 1
            if self.restarts > 3 * self.wanted + 10:
                raise SystemExit("no progress: too many restarts without reaching the end")
        self.compare()

    def kill(self, run: KilledRun) -> None:
        """Wait for a moment, and kill."""
        rule = self.wait_for_job(run)
        if rule is None:
            return
        counts = self.counts()
        rare = counts["kill worker"] <= min(counts[kind] for kind in self.kinds)
        if rule in WITH_WORKERS and rare and self.wait_for_worker(run):
            kinds = ["kill worker"]
        else:
            time.sleep(self.random.uniform(0, self.seconds.get(rule, 6.0)))
            impossible = {"kill worker"} if run.stages() else {"kill worker", "kill stage"}
            kinds = [kind for kind in self.kinds if kind not in impossible]
        kind = self.rarest(kinds)
        self.note(kind, run.hit(*KINDS[kind]))

    def counts(self) -> Counter:
        """Return how often each kind was used."""
        return Counter(kind for kind, _ in self.kills)

    def rarest(self, kinds: list[str]) -> str:
        """Return one of the kinds that were used least."""
        counts = self.counts()
        return min(kinds, key=lambda kind: (counts[kind], self.random.random()))

    def note(self, kind: str, running: str | None) -> None:
        """Note a kill, unless the run had ended."""
        if running is not None:
            self.kills.append((kind, running))
            clock = time.strftime("%H:%M:%S")
            print(f"{len(self.kills):4d} {clock} {kind:17s} during {running}", flush=True)

    def wait_for_job(self, run: KilledRun) -> str | None:
        """Wait for a job, and return its stage; None if the run ends before.

        Some jobs are skipped, more often those of stages that were hit often. A tenth of the runs
        is hit before their first job.
        """
        if not run.seen and self.random.random() < 0.1:
            return "start"
        while run.process.poll() is None:
            for rule in run.begun()[run.seen :]:
                run.seen += 1
                hits = sum(rule in running for _, running in self.kills)
                if self.random.random() < max(0.35, 1 / (1 + hits / 4)):
                    return rule
            time.sleep(0.05)
        return None

    def wait_for_worker(self, run: KilledRun) -> bool:
        """Wait for a worker of a stage; return whether there is one."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and run.process.poll() is None:
            if run.workers():
                time.sleep(self.random.uniform(0, 1))
                return bool(run.workers())
            time.sleep(0.05)
        return False

    def wait(self, run: KilledRun) -> int:
        """Return the exit status of a run. A run that does not end is a problem, and killed."""
        try:
            return run.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.problems.append(f"{run.output.name}: hung")
            os.killpg(run.process.pid, signal.SIGKILL)
            return run.process.wait()

    def look(self, run: KilledRun) -> None:
        """Note what a user must never read."""
        text = INTERRUPTED_IMPORT.sub("", run.text())
        self.problems += [f"{run.output.name}: {word}" for word in FORBIDDEN if word in text]

    def compare(self) -> None:
        """Compare with the uninterrupted run, and look for files and processes left behind."""
        found = contents(self.project.results)
        # Fewer targets make fewer files.
        for name in sorted(found if self.targets else found.keys() | self.reference.keys()):
            if found.get(name) != self.reference.get(name):
                how = "differs from the uninterrupted run" if name in found else "is missing"
                self.problems.append(f"{name}: {how}")
        self.problems += [f"{p}: left behind" for p in self.project.results.rglob(".*.tmp*")]
        deadline = time.monotonic() + 30
        while (alive := [p for r in self.runs for p in r.members()]) and (
            time.monotonic() < deadline
        ):
            time.sleep(0.5)
        self.problems += [f"process {' '.join(_command(p))[:100]}: still there" for p in alive]
        files = len(found)
        print(f"end reached after {self.restarts} restarts, {files} files compared", flush=True)

    def table(self) -> str:
        """Return a table of kills by kind and by stage."""
        stages = sorted({stage for _, running in self.kills for stage in running.split(", ")})
        rows = {
            stage: Counter(kind for kind, running in self.kills if stage in running.split(", "))
            for stage in stages
        }
        lines = [f"{'':22s}" + "".join(f"{kind:>20s}" for kind in self.kinds)]
        for name, count in (*rows.items(), ("all kills", self.counts())):
            lines.append(f"{name:22s}" + "".join(f"{count[kind]:20d}" for kind in self.kinds))
        return "\n".join(lines)


def durations(results: Path) -> dict[str, float]:
    """Return rule -> the longest time that Snakemake measured of one of its jobs, in seconds."""
    found: dict[str, float] = {}
    for path in (results / "benchmarks").rglob("*.tsv"):
        rule = path.relative_to(results / "benchmarks").parts[0].removesuffix(".tsv")
        seconds = float(path.read_text().splitlines()[1].split("\t")[0])
        found[rule] = max(found.get(rule, 0.0), seconds)
    return found


def parse(what: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=what, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100, help="kills altogether")
    parser.add_argument("--seed", type=int, default=0, help="decides kinds and moments")
    parser.add_argument("--folder", type=Path, help="where to work; kept (default: temporary)")
    parser.add_argument("--reference", type=Path, help="results of a run that was not interrupted")
    return parser.parse_args()


def uninterrupted(folder: Path) -> Path:
    """Return the results of a run that is never interrupted."""
    whole = Project.new(folder / "whole")
    done = whole.snakemake(settings=SETTINGS)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return whole.results


def main(kind: type[Soak], what: str) -> None:
    arguments = parse(what)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # nohup and & have it ignored
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="soak"))
    started = time.monotonic()
    reference = arguments.reference or uninterrupted(folder)
    soak = kind(folder, reference, SETTINGS, arguments.kills, arguments.seed)
    soak.run()
    minutes = (time.monotonic() - started) / 60
    print(soak.table())
    print(f"seed {arguments.seed}, {len(soak.kills)} kills, {minutes:.0f} minutes, in {folder}")
    print("\n".join(soak.problems) or "no problem: byte-identical")
    sys.exit(bool(soak.problems))


if __name__ == "__main__":
    main(Soak, __doc__)
