"""A real SLURM on this machine: a controller and two nodes, on the loopback interface.

The nodes are two daemons of this machine. Each claims fewer cores and less memory than VOC needs,
and two GPUs that do not exist. SLURM reads its configuration only from /etc/slurm, so this needs
root, and the packages slurmctld, slurmd, slurm-client and munge.
"""

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

CONFIGURATION = Path("/etc/slurm")
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "munged")
NODES = {"one": 16821, "two": 16822}
CONTROLLER_PORT = 16817
SLURM_CONF = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=bf_interval=1
SlurmdParameters=config_overrides
ReturnToService=2
GresTypes=gpu
MinJobAge=3600
MessageTimeout=5
KillWait=10
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
{nodes}
PartitionName=main Nodes=ALL Default=YES PriorityTier=1 State=UP
PartitionName=urgent Nodes=ALL PriorityTier=2 State=UP
"""
NODE = (
    "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=2 RealMemory=20000 "
    "Gres=gpu:2"
)
GRES_CONF = "Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n"
CGROUP_CONF = """\
CgroupPlugin=cgroup/v1
CgroupAutomount=no
ConstrainCores=no
ConstrainDevices=no
ConstrainRAMSpace=no
"""


def obstacle() -> str:
    """Return why SLURM cannot run here, for the message of a skipped test; empty if it can."""
    missing = [program for program in PROGRAMS if not find(program)]
    if missing:
        return (
            f"SLURM is not installed ({', '.join(missing)}): apt-get install "
            "slurmctld slurmd slurm-client munge"
        )
    if os.geteuid():
        return "the SLURM of the tests is configured in /etc/slurm, which needs root"
    if "is UP" in tell("scontrol", "ping"):
        return "a SLURM already runs on this machine"
    return ""


def find(program: str) -> str | None:
    """Return the path of a program; folders of system programs are searched, too."""
    return shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def tell(*command: str) -> str:
    """Return what a command prints to standard output and standard error."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.stdout


def jobs(rule: str = "", state: str = "all") -> dict[str, str]:
    """Return number -> comment (rule_NAME...) of the jobs of a rule, or of all rules."""
    lines = tell("squeue", "-h", "-r", "-t", state, "-o", "%i|%k").splitlines()
    found = dict(line.split("|") for line in lines if "|" in line)
    return {number: comment for number, comment in found.items() if f"rule_{rule}" in comment}


class Cluster:
    """A SLURM that runs until `stop`, which restores the previous configuration of the machine."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.saved = folder, CONFIGURATION.with_name("slurm.before-tests")

    def start(self) -> None:
        host = os.uname().nodename.split(".")[0]
        for name in ("state", *(f"spool-{node}" for node in NODES)):
            (self.folder / name).mkdir(parents=True)
        nodes = (NODE.format(name=name, host=host, port=port) for name, port in NODES.items())
        facts = {"host": host, "port": CONTROLLER_PORT, "folder": self.folder}
        if CONFIGURATION.exists() and not self.saved.exists():
            CONFIGURATION.rename(self.saved)
        CONFIGURATION.mkdir(exist_ok=True)
        for name, text in (
            ("slurm", SLURM_CONF.format(**facts, nodes="\n".join(nodes))),
            ("gres", GRES_CONF),
            ("cgroup", CGROUP_CONF),
        ):
            (CONFIGURATION / f"{name}.conf").write_text(text)
        if subprocess.run(["munge", "-n"], capture_output=True).returncode:
            self._start_munge()
        self.start_controller()
        for node in NODES:
            self.start_node(node)
        self.wait(lambda: tell("sinfo", "-h", "-o", "%T", "-p", "main").split() == ["idle"])

    @staticmethod
    def _start_munge() -> None:
        for folder, mode in (("/run/munge", 0o755), ("/var/lib/munge", 0o700)):
            Path(folder).mkdir(exist_ok=True)
            shutil.chown(folder, "munge", "munge")
            os.chmod(folder, mode)
        user = ("setpriv", "--reuid=munge", "--regid=munge", "--clear-groups")
        subprocess.run([*user, find("munged")], check=True)

    def stop(self) -> None:
        tell("scancel", "--user", "root")
        time.sleep(1)
        for daemon in (*(f"slurmd-{node}" for node in NODES), "slurmctld"):
            self._send(daemon, signal.SIGTERM)
        shutil.rmtree(CONFIGURATION)
        if self.saved.exists():
            self.saved.rename(CONFIGURATION)

    @staticmethod
    def start_controller() -> None:
        subprocess.run([find("slurmctld")], check=True)

    def stop_controller(self, number: int = signal.SIGTERM) -> None:
        """Stop the controller, so that squeue and sbatch fail. SIGKILL may lose the newest jobs."""
        self._send("slurmctld", number)

    @staticmethod
    def start_node(node: str) -> None:
        subprocess.run([find("slurmd"), "-N", node], check=True)

    def _send(self, daemon: str, number: int) -> None:
        with suppress(OSError, ValueError):
            os.kill(int((self.folder / f"{daemon}.pid").read_text()), number)

    # Events in the life of a running job.

    def cancel(self, job: str) -> None:
        tell("scancel", job)

    def requeue(self, job: str) -> None:
        tell("scontrol", "requeue", job)

    def displace(self, job: str) -> None:
        """Let a job of higher priority take all nodes."""
        # With a time limit: if it ends while the controller is dead, SLURM does not notice.
        ask = ("sbatch", "-p", "urgent", "-N2", "--exclusive", "-t", "1", "--wrap", "sleep 5")
        tell(*ask, "-o", "/dev/null")

    def lose_its_node(self, job: str) -> None:
        """Set its node down, and up again when the job has left it."""
        node = self.node(job)
        tell("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
        self.wait(lambda: job not in jobs(state="running"))
        tell("scontrol", "update", f"nodename={node}", "state=resume")

    def terminate(self, job: str) -> None:
        """Send SIGTERM to all of its processes."""
        tell("scancel", "--full", "--signal=TERM", job)

    def shorten(self, job: str) -> None:
        """Let its time end when SLURM next looks, which it does every minute."""
        tell("scontrol", "update", f"jobid={job}", "timelimit=1")

    def restart_its_node(self, job: str) -> None:
        """Kill and start the daemon of its node; the processes of the job go on."""
        node = self.node(job)
        self._send(f"slurmd-{node}", signal.SIGKILL)
        time.sleep(5)
        self.start_node(node)

    def restart_controller(self, job: str) -> None:
        """Kill the controller, and start it again after some seconds.

        A job that it had not yet saved is lost. If its node knows better, SLURM waits for an
        administrator.
        """
        self.stop_controller(signal.SIGKILL)
        time.sleep(5)
        self.start_controller()
        self.wait(lambda: "is UP" in tell("scontrol", "ping"))

    @staticmethod
    def administer() -> None:
        """Repair what SLURM leaves to an administrator after its controller was killed."""
        for node in NODES:
            if "Duplicate jobid" in tell("sinfo", "-h", "-n", node, "-o", "%E"):
                tell("scontrol", "update", f"nodename={node}", "state=resume")
        waiting = tell("squeue", "-h", "-t", "pending", "-o", "%i|%r").splitlines()
        for number, reason in (line.split("|") for line in waiting if "|" in line):
            if "held" in reason:
                tell("scontrol", "release", number)

    @staticmethod
    def node(job: str) -> str:
        return tell("squeue", "-h", "-t", "all", "-j", job, "-o", "%N").strip()

    @staticmethod
    def wait(happened, seconds: float = 600) -> None:
        """Wait until `happened()` is true; raise AssertionError after `seconds`."""
        end = time.monotonic() + seconds
        while not happened():
            assert time.monotonic() < end, tell("squeue") + tell("sinfo")
            time.sleep(0.5)
