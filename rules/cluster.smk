# What jobs ask for: memory, minutes and GPUs, on this machine or from a scheduler (docs/CLUSTER.md).
from importlib.metadata import distributions

from i2crc.runtime.gpus import jobs_at_a_time
from i2crc.runtime.slurm import largest_node

# A scheduler runs `nodes` jobs at a time; on this machine there is no such limit.
is_submitted = workflow.resource_settings.nodes is not None
NODE = SLURM_PROBLEM = None
if workflow.is_main_process and is_submitted:
    try:
        NODE = largest_node()
    except InputError as error:
        SLURM_PROBLEM = str(error)
    if NODE:
        given = workflow.resource_settings.max_threads or NODE.cpus
        workflow.resource_settings.max_threads = min(given, NODE.cpus)
        if "mem_mb" not in workflow.global_resources:
            workflow.global_resources["mem_mb"] = NODE.memory
        if not NODE.gpus:
            workflow.global_resources["gpu"] = 0
elif workflow.is_main_process:
    if "gpu" not in workflow.global_resources:
        workflow.global_resources["gpu"] = jobs_at_a_time()
    if RUNTIME.nodes > 1 and "SLURM_JOB_ID" not in os.environ:
        raise WorkflowError(
            f"runtime.nodes is {RUNTIME.nodes}, but only a SLURM job has several nodes; add "
            "--workflow-profile profiles/slurm, or set runtime.nodes to 1"
        )
if RUNTIME.cache:
    # Where the libraries that load pretrained weights keep them.
    cache = Path(RUNTIME.cache).absolute()
    os.environ.update(TORCH_HOME=str(cache / "torch"), HF_HOME=str(cache / "huggingface"))


# Only the build of onnxruntime for CUDA, a package of its own, computes on a GPU.
ONNX_GPUS = int(any(distributions(name="onnxruntime-gpu")))


def jobs_at_once(threads):
    """Return how many shards with these threads this machine runs; 0 if a scheduler places them."""
    if is_submitted or not workflow.is_main_process:
        return 0
    cores = workflow.resource_settings.cores or 1
    fitting = cores // min(threads, cores)
    # Beside the shards of a run of an ablation, those of other runs are computed.
    return fitting if OUTER_RESULTS else min(fitting, CONFIG.shards)


def growing(mem_mb, minutes):
    """Return memory and time of a job, which grow with each attempt; a day at most."""
    return {
        "mem_mb": lambda wildcards, attempt: attempt * mem_mb,
        "runtime": lambda wildcards, attempt: min(attempt * minutes, 1440),
    }


def training_resources(mem_mb, minutes):
    """Return what a training asks for; on several nodes its script calls srun itself."""
    # Two minutes before the limit SLURM signals a training, which saves a checkpoint and ends.
    asked = {**growing(mem_mb, minutes), "slurm_extra": "'--signal=TERM@120'", "gpu": RUNTIME.gpus}
    if RUNTIME.nodes > 1:
        gpus = RUNTIME.gpus
        if "gpu" in workflow.global_resources:
            gpus = min(gpus, workflow.global_resources["gpu"].value)
        # Without `gres` SLURM may give the nodes unequal numbers of GPUs. Without `tasks_per_gpu`
        # the plugin takes `tasks` for it.
        gres = f"gpu:{gpus // RUNTIME.nodes}" if gpus else ""
        asked |= {"mpi": "srun", "nodes": RUNTIME.nodes, "tasks": RUNTIME.nodes}
        asked |= {"tasks_per_gpu": 0, "gres": gres}
    return asked
