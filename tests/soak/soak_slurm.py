"""Run the reduced demo on a SLURM of two nodes, while its jobs, nodes and Snakemake are ended.

This happens in every way at random moments. Then compare the results with those of a run that was
never interrupted. See README.md.
"""

import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import psutil

from helpers import slurm
from helpers.project import config_options
from soak import KINDS, KilledRun, Soak, main

# The time of a job, with the two starts of Snakemake in it.
SECONDS = 30
# A run without output and without jobs in the queue is stuck after this many seconds: Snakemake
# asks SLURM at least every three minutes.
PATIENCE = 300
# More jobs at a time than the machine has cores: jobs that are queued again wait two minutes.
PROFILE = [
    *("--workflow-profile", "profiles/slurm", "--jobs", "3", "--latency-wait", "10"),
    *("--slurm-init-seconds-before-status-checks", "2", "--seconds-between-status-checks", "2"),
]
# Events of Snakemake on the login node.
LOGIN = {
    "kill snakemake": ("all", signal.SIGKILL),
    "term snakemake": ("snakemake", signal.SIGTERM),
    "ctrl-c": ("all", signal.SIGINT),
}
# Events of a job: methods of slurm.Cluster.
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


class SlurmRun(KilledRun):
    """A start of Snakemake. All processes in the project's folder count, so earlier jobs, too."""

    def members(self) -> list[psutil.Process]:
        return [p for p in psutil.process_iter() if _folder(p) == self.folder]


def _folder(process: psutil.Process) -> Path | None:
    try:
        return Path(process.cwd()) if process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None


class SlurmSoak(Soak):
    """The same on SLURM."""

    interrupted = 0

    kinds = (*LOGIN, "kill stage", *JOB)

    def run(self) -> None:
        obstacle = slurm.obstacle()
        if obstacle:
            raise SystemExit(obstacle)
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
        """Press Ctrl-C in a run that waits for a job that SLURM has lost, as CLUSTER.md says.

        Only a killed controller loses jobs. A run that waits more often is a problem.
        """
        self.cluster.administer()
        silence = time.time() - run.output.stat().st_mtime
        if silence > PATIENCE and not slurm.jobs(state="pending,running,completing"):
            self.interrupted += 1
            if self.interrupted > self.counts()["restart_controller"]:
                self.problems.append(f"{run.output.name}: hung")
            print(f"{run.output.name}: interrupted, because it waits for a lost job", flush=True)
            run.process.send_signal(signal.SIGINT)
            run.process.wait(PATIENCE)

    def compare(self) -> None:
        super().compare()
        self.problems += [f"job {job}: still there" for job in slurm.jobs(state="pending,running")]


if __name__ == "__main__":
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    main(SlurmSoak, __doc__)
