# What jobs ask for: memory, minutes and GPUs, on this machine or from a scheduler (docs/CLUSTER.md).
import runpy

from i2crc.runtime.gpus import jobs_at_a_time
from i2crc.runtime.slurm import largest_node

# A scheduler runs `nodes` jobs at a time; on this machine there is no such limit.
IS_SUBMITTED = workflow.resource_settings.nodes is not None
# GPU jobs at the same time, unless --resources or a profile says it.
if workflow.is_main_process and not IS_SUBMITTED and "gpu" not in workflow.global_resources:
    workflow.global_resources["gpu"] = jobs_at_a_time()
# No job asks for more than the largest node of a SLURM cluster has.
SLURM_IS_AWAY = None
if workflow.is_main_process and IS_SUBMITTED:
    try:
        node = largest_node()
    except InputError as error:
        node, SLURM_IS_AWAY = None, str(error)
    if node:
        logger.info(f"The nodes of SLURM have at most {node}: no job asks for more.")
        given = workflow.resource_settings.max_threads
        workflow.resource_settings.max_threads = min(given or node.cpus, node.cpus)
        if "mem_mb" not in workflow.global_resources:
            workflow.global_resources["mem_mb"] = node.memory
        if not node.gpus:
            workflow.global_resources["gpu"] = 0
if (
    RUNTIME.nodes > 1
    and workflow.is_main_process
    and not IS_SUBMITTED
    and "SLURM_JOB_ID" not in os.environ
):
    raise WorkflowError(
        f"runtime.nodes is {RUNTIME.nodes}, but only a SLURM job has several nodes; add "
        "--workflow-profile profiles/slurm, or set runtime.nodes to 1"
    )
if RUNTIME.cache:
    # Where the libraries that load pretrained weights keep them.
    for variable, folder in (("TORCH_HOME", "torch"), ("HF_HOME", "huggingface")):
        os.environ[variable] = str(Path(RUNTIME.cache, folder).absolute())


def prepare_slurm():
    """Refuse a run while SLURM is away, and work around bugs of its plugin; else do nothing."""
    if workflow.executor_plugin.name == "slurm":
        if SLURM_IS_AWAY:
            raise WorkflowError(SLURM_IS_AWAY)
        workarounds = Path(workflow.basedir, "profiles/slurm/workarounds.py")
        runpy.run_path(str(workarounds))["apply"](logger)


def growing(mem_mb, minutes):
    """Return memory and time of a job, which grow with each attempt; a day at most."""
    return {
        "mem_mb": lambda wildcards, attempt: attempt * mem_mb,
        "runtime": lambda wildcards, attempt: min(attempt * minutes, 1440),
    }


def training_resources(mem_mb, minutes):
    """Return what a training asks for; on several nodes its script calls srun itself."""
    # Two minutes before the limit SLURM signals a training, which saves a checkpoint and ends.
    asked = {**growing(mem_mb, minutes), "slurm_extra": "'--signal=TERM@120'"}
    if RUNTIME.nodes == 1:
        return {**asked, "gpu": RUNTIME.gpus}
    gpus = RUNTIME.gpus
    if "gpu" in workflow.global_resources:
        gpus = min(gpus, workflow.global_resources["gpu"].value)
    return {
        **asked,
        "gpu": RUNTIME.gpus,
        "mpi": "srun",
        "nodes": RUNTIME.nodes,
        "tasks": RUNTIME.nodes,
        "tasks_per_gpu": 0,  # otherwise the plugin takes `tasks` for it
        # Without it SLURM may give the nodes unequal numbers of GPUs.
        "gres": f"gpu:{gpus // RUNTIME.nodes}" if gpus else "",
    }
