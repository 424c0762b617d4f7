# What all rules share: the validated configuration, paths, shards, and what makes a stage stale.
# No stage logic.
import functools
import json
import os
import shlex
import sys
from pathlib import Path

SCRIPTS = PROJECT / "workflow_scripts"
sys.path.insert(0, str(SCRIPTS))

from i2crc.artifacts.code_digest import code_digest
from i2crc.artifacts.damage import forget_damaged
from i2crc.artifacts.stages import FINAL_SCORES, PSEUDO_SCORES, SCORED, STAGES
from i2crc.config.ablation import ablation_folder, ablation_runs, outer_results
from i2crc.config.load import load_run_config, name_sources
from i2crc.fetch.sources import local_path
from i2crc.runtime.addresses import hidden_queries
from i2crc.runtime.atomic import digest_value, files_digest
from i2crc.runtime.errors import InputError, no_such
from snakemake.exceptions import WorkflowError

if os.pathsep in str(SCRIPTS):
    raise WorkflowError(
        f"{PROJECT}: Python imports nothing from a path with `{os.pathsep}` in it; move the project"
    )
try:
    SOURCES = workflow.configfiles, workflow.config_settings.config
    CONFIG = load_run_config(config, *SOURCES)
    ABLATION_RUNS = ablation_runs(config, CONFIG, name_sources(*SOURCES))
except InputError as error:
    raise WorkflowError(str(error)) from None

# The report would show the text of a configuration file with the secret queries in it.
workflow.configfiles[:] = [
    file
    for file in workflow.configfiles
    if not any(query in Path(file).read_text() for query in hidden_queries())
]


def escaped(text):
    """Return a text that is itself after Snakemake has filled in what is in braces."""
    return str(text).replace("{", "{{").replace("}", "}}")


ENVIRONMENT = escaped(PROJECT / "envs/i2crc.yaml")
# Scripts run with the interpreter that runs Snakemake (under --sdm conda: the environment's), and
# with the library beside them.
library = escaped(shlex.quote(str(SCRIPTS)))
shell.prefix(f"set -euo pipefail; export PYTHONPATH={library}; ")
os.environ.update(PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()]))

RESULTS = f"{CONFIG.results}/{CONFIG.experiment}"
OUTER_RESULTS = outer_results(CONFIG)
RUNTIME = CONFIG.runtime
SHARDS = [f"{number}-of-{CONFIG.shards}" for number in range(1, CONFIG.shards + 1)]
DETERMINISTIC = "--deterministic" if CONFIG.deterministic else ""
IS_DEMO = not CONFIG.dataset.root
DATA_ROOT = CONFIG.dataset.root or f"{RESULTS}/dataset"
PSEUDO = CONFIG.segmentation.supervision == "pseudo"
ONE_ROUND = PSEUDO and CONFIG.rounds == 1
# The first page of the report looks its content up here. The `config` of a module is the user's own,
# which stays as it was.
config = {**config, "front_page": f"{RESULTS}/report/landing.html"}


wildcard_constraints:
    shard=r"\d+-of-\d+",
    split="train|val|dev|test",
    round="initial|final|published",


def script(stage):
    """Return the path of a stage's script; where the project is makes nothing stale."""
    return uncompared(str(SCRIPTS / STAGES[stage].script))


def code(stage):
    """Return the digest of the code that a stage runs: a parameter, so that new code is stale."""
    return code_digest(SCRIPTS / STAGES[stage].script)


# What the workflow writes may lie in the folder of the user's photographs.
OUTPUT_FOLDERS = tuple(filter(None, (CONFIG.results, RESULTS, RUNTIME.cache, OUTER_RESULTS)))
# All splits have the same folder of photographs.
looked_at_once = functools.cache(files_digest)


def files(*paths):
    """Return a digest of names, sizes and times of the user's own files and folders.

    A parameter of the rules that read them. The stages tell by content what has changed.
    """
    return digest_value([looked_at_once(path, OUTPUT_FOLDERS) for path in paths])


def source_files(address):
    """Return `files` of the file or folder that an address names; "" for one from the web."""
    path = local_path(address)
    return files(str(path)) if path else ""


def scored_stages(settings):
    """Return the scores of a run of the whole pipeline with these settings."""
    pseudo = PSEUDO_SCORES if settings.segmentation.supervision == "pseudo" else []
    return [*pseudo, *(FINAL_SCORES if "val" in settings.dataset.splits else [])]


def section(name):
    """Return a section of the configuration as the JSON that its script takes."""
    return as_json(getattr(CONFIG, name).model_dump())


def as_json(value):
    """Return a value as JSON for a script."""
    text = json.dumps(value)
    return lambda wildcards: text  # in a plain text Snakemake would look for wildcards


def uncompared(value):
    """Return a parameter that makes nothing stale.

    Snakemake does not compare parameters that are functions of the input.
    """
    return lambda wildcards, input: value


def shards(folder):
    """Return the manifests of all shards below a folder of the results."""
    return expand(f"{RESULTS}/{folder}/{{shard}}.json", shard=SHARDS)


def shared(own, name):
    """Return a path in the cache that experiments share, or, without one, the experiment's own."""
    return f"{RUNTIME.cache}/{name}" if RUNTIME.cache else f"{RESULTS}/{own}"
