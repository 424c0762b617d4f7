# What all rules share: the validated configuration and shards. No stage logic.
import json
import os
import re
import sys
from contextlib import suppress
from pathlib import Path

SCRIPTS = Path(workflow.basedir) / "workflow_scripts"
sys.path.insert(0, str(SCRIPTS))

from i2crc.addresses import hidden_queries
from i2crc.config import load_config, read_yaml
from i2crc.files import InputError, digest_value
from i2crc.gpus import jobs_at_a_time
from i2crc.mended_snakemake import answer_sigterm_aside, mend_slurm
from i2crc.slurm import largest_node
from snakemake.exceptions import WorkflowError

try:
    sources = [
        *map(str, workflow.configfiles),
        *(["--config"] if workflow.config_settings.config else []),
    ]
    for source in workflow.configfiles:
        read_yaml(Path(source))  # Snakemake itself lets the last of two equal keys win
    CONFIG = load_config(config, " + ".join(sources))
    # What Snakemake's users know as a cache between workflows; jobs that are submitted are told.
    shared = os.environ.get("SNAKEMAKE_OUTPUT_CACHE")
    if workflow.workflow_settings.cache is not None and shared and not CONFIG.runtime.cache:
        runtime = {**config.get("runtime", {}), "cache": shared}
        CONFIG = load_config({**config, "runtime": runtime}, "--cache")
        told = workflow.config_settings.config_args or []
        workflow.config_settings.config_args = [*told, f"runtime={json.dumps(runtime)}"]
except InputError as error:
    raise WorkflowError(str(error)) from None

# The report would show the text of a configuration file with what `hide` keeps from it.
workflow.configfiles[:] = [
    file
    for file in workflow.configfiles
    if not any(query in Path(file).read_text() for query in hidden_queries())
]

# What a second Snakemake needs to be told to see the same configuration.
SAME_CONFIG = [
    *(
        ["--configfile", *map(str, workflow.overwrite_configfiles)]
        if workflow.overwrite_configfiles
        else []
    ),
    *(
        [
            "--config",
            *(
                f"{k}={v if isinstance(v, str) else json.dumps(v)}"
                for k, v in workflow.config_settings.config.items()
            ),
        ]
        if workflow.config_settings.config
        else []
    ),
]
# Scripts run with the interpreter that runs Snakemake (under --sdm conda: the environment's).
os.environ.update(PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()]))
# On this machine, or by a scheduler that runs `nodes` jobs at a time.
IS_SUBMITTED = workflow.resource_settings.nodes is not None
# GPU jobs at the same time, unless --resources or a profile says it. Jobs that are submitted find
# theirs elsewhere.
if workflow.is_main_process and not IS_SUBMITTED and "gpu" not in workflow.global_resources:
    workflow.global_resources["gpu"] = jobs_at_a_time()
# No job asks for more than the largest node of a SLURM has.
node = SLURM_IS_AWAY = None
if workflow.is_main_process and IS_SUBMITTED:
    try:
        node = largest_node()
    except InputError as error:
        SLURM_IS_AWAY = str(error)
if node:
    logger.info(f"The nodes of SLURM have at most {node}: no job asks for more.")
    given = workflow.resource_settings.max_threads
    workflow.resource_settings.max_threads = min(given or node.cpus, node.cpus)
    if "mem_mb" not in workflow.global_resources:
        workflow.global_resources["mem_mb"] = node.memory
    if not node.gpus:
        workflow.global_resources["gpu"] = 0
if (
    CONFIG.runtime.nodes > 1
    and workflow.is_main_process
    and not IS_SUBMITTED
    and "SLURM_JOB_ID" not in os.environ
):
    raise WorkflowError(
        f"runtime.nodes {CONFIG.runtime.nodes}: several nodes are those of a SLURM job; add "
        "--workflow-profile profiles/slurm, or set runtime.nodes to 1"
    )
RESULTS = f"{CONFIG.results}/{CONFIG.experiment}"
RUNTIME = CONFIG.runtime
if RUNTIME.cache:
    # Where the libraries that load pretrained weights keep them.
    for variable, folder in (("TORCH_HOME", "torch"), ("HF_HOME", "huggingface")):
        os.environ[variable] = str(Path(RUNTIME.cache, folder).absolute())
SHARDS = [f"{number}-of-{CONFIG.shards}" for number in range(1, CONFIG.shards + 1)]
DETERMINISTIC = "--deterministic" if CONFIG.deterministic else ""
IS_DEMO = not CONFIG.dataset.root
DATA_ROOT = CONFIG.dataset.root or f"{RESULTS}/dataset"
PSEUDO = CONFIG.segmentation.supervision == "pseudo"
# The text on the first page of the report looks its table up here.
config["landing_table"] = f"{RESULTS}/report/landing.html"


wildcard_constraints:
    shard=r"\d+-of-\d+",
    split="train|val|test",
    round="initial|final|published",


def section(name, **changes):
    """A section of the configuration as the JSON that its script takes."""
    return as_json({**getattr(CONFIG, name).model_dump(), **changes})


def as_json(value):
    """A value as JSON for a script."""
    text = json.dumps(value)
    return lambda wildcards: text  # in a plain text Snakemake would look for wildcards


def shards(folder):
    """The manifests of all shards below a folder of the results."""
    return expand(f"{RESULTS}/{folder}/{{shard}}.json", shard=SHARDS)


def intermediate(output):
    """A large output that is removed when no stage needs it any more, unless it is to be kept."""
    return output if CONFIG.keep_intermediates else temp(output)


def several_nodes():
    """What SLURM is asked for where a training has several nodes: its script calls srun itself."""
    if RUNTIME.nodes == 1:
        return {}
    gpus = RUNTIME.gpus
    if "gpu" in workflow.global_resources:
        gpus = min(gpus, workflow.global_resources["gpu"].value)
    return {
        "mpi": "srun",
        "nodes": RUNTIME.nodes,
        "tasks": RUNTIME.nodes,
        "tasks_per_gpu": 0,  # else it would be `tasks`
        "gres": f"gpu:{gpus // RUNTIME.nodes}" if gpus else "",  # without it, in unequal parts
    }


def downloads(own):
    """The folder of files whose SHA-256 is known: the experiment's own, or a shared one."""
    return f"{RUNTIME.cache}/downloads" if RUNTIME.cache else f"{RESULTS}/{own}"


def findings(own, *what):
    """The file that remembers what decoding has found: the experiment's own, or a shared one.

    Those who share it look at the same files (`what`) with the same code and settings.
    """
    if not RUNTIME.cache or IS_DEMO:
        return f"{RESULTS}/{own}"
    return f"{RUNTIME.cache}/findings/{digest_value(what)[:16]}"


def compared_scores():
    """The scores of the experiments to compare: this one's to come, the others' as they are."""
    found = []
    for folder in CONFIG.compare.experiments:
        if Path(folder) == Path(RESULTS):
            found += [f"{folder}/scores/{stage}.json" for stage in PIPELINE_STAGES]
        else:
            found += sorted(map(str, Path(folder).glob("scores/*.json")))
    return found


def print_summary():
    """Show the table of scores, and say where the pictures are."""
    for name, place in (("Scores", "scores/table.md"), ("Pictures", "report/sheets")):
        path = Path(RESULTS) / place
        if path.exists():
            print(f"{name}: {path}")
            print(path.read_text() if path.suffix == ".md" else "")


def print_failure(log_files):
    """Say how it goes on after a run that failed or was stopped; `log_files` are Snakemake's."""
    text = "".join(Path(file).read_text() for file in log_files if Path(file).is_file())
    if re.search("Signals.SIGKILL|exit status 137", text):
        print(
            "A job above was killed from outside, most likely by the kernel because memory ran out "
            "(`dmesg` would say so): give fewer --cores, or lower runtime.workers or "
            "runtime.inference_threads.",
            file=sys.stderr,
        )
    print(
        f"{RESULTS} is not finished. Nothing finished is lost: mend what the errors above say, if "
        "there are any, and start the same command again; it continues.",
        file=sys.stderr,
    )


def end_quietly(kind, error, trace):
    """Ctrl-C while Snakemake itself is at work ends it with a line instead of a traceback."""
    if issubclass(kind, KeyboardInterrupt):
        print("Stopped. Start the same command again and it continues.", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


answer_sigterm_aside()
with suppress(ImportError):
    import snakemake_executor_plugin_slurm
    import snakemake_executor_plugin_slurm_jobstep

    mend_slurm(snakemake_executor_plugin_slurm, snakemake_executor_plugin_slurm_jobstep)

if workflow.is_main_process:
    sys.excepthook = end_quietly
