"""Start a training under torchrun, on one machine or on the nodes of a SLURM job."""

import os
import shutil
import socket
import sys

import torch

from i2crc.runtime.errors import InputError

# How often torchrun starts all processes again, from the last checkpoint, after one has died.
RESTARTS = 3


def launch(gpus: int, processes: int, nodes: int, threads: int, batch_size: int) -> None:
    """Re-execute this script under torchrun if the training gets several processes.

    `gpus` is the number that the scheduler granted on all nodes together; each usable one gets a
    process. `processes` is the number of CPU processes instead (0: one per node). Every process
    gets at least one image of a batch. `threads` are those of a node. Return at once if torchrun
    has started this process, or if one process is enough. Raise InputError if several `nodes` are
    asked for outside a SLURM job, or have more processes than a batch has images.
    """
    if "RANK" in os.environ:
        return
    starter: list[str] = []
    meeting = ["--standalone"]
    count = min(max(min(gpus, torch.cuda.device_count()), processes), batch_size)
    if nodes > 1:
        count = max(gpus // nodes, processes // nodes, 1)
        starter, meeting = _on_nodes(nodes, count, threads, batch_size)
    elif count < 2:
        return
    # Restarted processes would read the addresses of those that died, and wait for ever
    # (pytorch issue 135712).
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    command = [
        *starter, sys.executable, "-m", "torch.distributed.run", f"--max-restarts={RESTARTS}",
        # Without the dashes torchrun would read the options of the script as its own.
        *meeting, f"--nproc-per-node={count}", "--", *sys.argv,
    ]  # fmt: skip
    os.execvp(command[0], command)


def _on_nodes(nodes: int, count: int, threads: int, batch_size: int) -> tuple[list[str], list[str]]:
    """Return the command that starts torchrun on each node, and where its processes meet."""
    if "SLURM_JOB_ID" not in os.environ or shutil.which("srun") is None:
        raise InputError(
            f"runtime.nodes {nodes}: several nodes need a SLURM job, and this is not one; run with "
            "--workflow-profile profiles/slurm, or set runtime.nodes to 1"
        )
    if nodes * count > batch_size:
        raise InputError(
            f"runtime.nodes {nodes} with {count} processes each: more than the {batch_size} images "
            "of a batch (batch_size, or all photographs); set runtime.nodes or runtime.gpus lower"
        )
    # The processes meet at a port that is free on the first node.
    with socket.socket() as server:
        server.bind(("", 0))
        place = f"{socket.gethostname()}:{server.getsockname()[1]}"
    starter = [
        "srun", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1",
        f"--cpus-per-task={threads}", "--cpu-bind=none", "--mem=0", "--overlap",
        "--kill-on-bad-exit=1",
    ]  # fmt: skip
    return starter, [
        f"--nnodes={nodes}", "--rdzv-backend=c10d", f"--rdzv-endpoint={place}",
        f"--rdzv-id={os.environ['SLURM_JOB_ID']}",
    ]  # fmt: skip
