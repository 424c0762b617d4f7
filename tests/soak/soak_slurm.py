"""Run the reduced demo on a SLURM of two nodes, end its jobs, its nodes and Snakemake in every way
at random moments, and compare what comes out with a run that was never interrupted. README.md
beside this says how to run it.
"""

import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import psutil

from i2crc.runtime.mended_snakemake import LOST
from soak import KINDS, Run, Soak, main
from helpers import slurm
from helpers.project import config_options

# As long as a job takes, its two starts of Snakemake included.
SECONDS = 30
# So long Snakemake says nothing at most, while it has no job in the queue: until it gives up a job
# that a killed controller lost, which it notices when it asks again, every three minutes at least.
PATIENCE = LOST + 240
# More jobs at a time than the machine has cores: those that were queued again wait for two minutes.
PROFILE = [
    *("--workflow-profile", "profiles/slurm", "--jobs", "3", "--latency-wait", "10"),
    *("--slurm-init-seconds-before-status-checks", "2", "--seconds-between-status-checks", "2"),
]
# What happens to Snakemake on the login node, and to a job, there by its name in slurm.Cluster.
LOGIN = {
    "kill snakemake": ("all", signal.SIGKILL),
    "term snakemake": ("snakemake", signal.SIGTERM),
    "ctrl-c": ("all", signal.SIGINT),
}
JOB = (
    "cancel",
    "terminate",
    "requeue",
    "displace",
    "shorten",
    "lose_its_node",
    "restart_its_node",
    "restart_controller",
)


class SlurmRun(Run):
    """A start of Snakemake; whatever works in the project's folder, jobs of earlier starts, too."""

    def members(self) -> list[psutil.Process]:
        return [p for p in psutil.process_iter() if _folder(p) == self.folder]


def _folder(process: psutil.Process) -> Path | None:
    try:
        return Path(process.cwd()) if process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None


class SlurmSoak(Soak):
    """The same on SLURM."""

    kinds = (*LOGIN, "kill stage", *JOB)

    def run(self) -> None:
        why_not = slurm.obstacle()
        if why_not:
            raise SystemExit(why_not)
        self.cluster = slurm.Cluster(Path(tempfile.mkdtemp(prefix="slurm")))
        self.cluster.start()
        try:
            super().run()
        finally:
            self.cluster.stop()

    def start(self, output: Path) -> SlurmRun:
        options = [*self.targets, *PROFILE, *config_options(self.settings)]
        command = [sys.executable, "-m", "snakemake", *options]
        return SlurmRun(command, self.project.folder, output)

    def kill(self, run: SlurmRun) -> None:
        """Wait for a moment, and end something."""
        moment = time.monotonic() + self.random.uniform(0, SECONDS)
        while time.monotonic() < moment and run.process.poll() is None:
            time.sleep(0.2)
        self.end_if_idle(run)
        jobs = slurm.jobs(state="running")
        if run.process.poll() is not None or not (jobs or self.random.random() < 0.1):
            return
        kind = self.rarest([k for k in self.kinds if k in LOGIN or jobs])
        if kind in LOGIN:
            self.note(kind, run.hit(*LOGIN[kind]))
        elif kind == "kill stage":
            self.note(kind, run.hit(*KINDS[kind]))
        else:
            job = self.random.choice(sorted(jobs))
            getattr(self.cluster, kind)(job)
            self.note(kind, jobs[job].removeprefix("rule_").partition("_wildcards_")[0])

    def wait(self, run: SlurmRun) -> int:
        while run.process.poll() is None:
            self.end_if_idle(run)
            time.sleep(5)
        return run.process.returncode

    def end_if_idle(self, run: SlurmRun) -> None:
        """A run that waits for nothing is a problem, and killed."""
        self.cluster.administer()
        silence = time.time() - run.output.stat().st_mtime
        if silence > PATIENCE and not slurm.jobs(state="pending,running,completing"):
            self.problems.append(f"{run.output.name}: hung")
            os.killpg(run.process.pid, signal.SIGKILL)
            run.process.wait()

    def compare(self) -> None:
        super().compare()
        self.problems += [f"job {job}: still there" for job in slurm.jobs(state="pending,running")]


if __name__ == "__main__":
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    main(SlurmSoak, __doc__)
