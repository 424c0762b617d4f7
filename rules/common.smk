# What all rules share: the validated configuration, code digests, shards. No stage logic.
import json
import os
import sys
from pathlib import Path

SCRIPTS = Path(workflow.basedir) / "workflow_scripts"
sys.path.insert(0, str(SCRIPTS))

from i2crc.code import code_digest
from i2crc.config import load_config
from i2crc.files import InputError, digest_file
from snakemake.exceptions import WorkflowError

try:
    sources = [
        *map(str, workflow.configfiles),
        *(["--config"] if workflow.config_settings.config else []),
    ]
    CONFIG = load_config(config, " + ".join(sources))
except InputError as error:
    raise WorkflowError(str(error)) from None

# Scripts run with the interpreter that runs Snakemake (under --sdm conda: the environment's).
os.environ.update(PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()]))
RESULTS = f"{CONFIG.results}/{CONFIG.experiment}"
RUNTIME = CONFIG.runtime
SHARDS = [f"{number}-of-{CONFIG.shards}" for number in range(1, CONFIG.shards + 1)]
IS_DEMO = not CONFIG.dataset.root
DATA_ROOT = CONFIG.dataset.root or f"{RESULTS}/dataset"
PSEUDO = CONFIG.segmentation.supervision == "pseudo"


wildcard_constraints:
    shard=r"\d+-of-\d+",
    split="train|val",
    round="initial|final|published",


def section(name, **changes):
    """A section of the configuration as the JSON that its script takes."""
    return json.dumps({**getattr(CONFIG, name).model_dump(), **changes})


def code(script):
    """The digest of what a script runs: a parameter, so that a change of code makes it stale.

    Unlike an input file it does not change with time stamps, comments or formatting.
    """
    return code_digest(SCRIPTS / f"{script}.py")


def list_digest(split):
    """The digest of a split's image list; none where the data set is not there yet."""
    file = Path(DATA_ROOT) / getattr(CONFIG.dataset, f"{split}_list")
    return digest_file(file) if file.is_file() and not IS_DEMO else ""


def shards(folder):
    """The manifests of all shards below a folder of the results."""
    return expand(f"{RESULTS}/{folder}/{{shard}}.json", shard=SHARDS)


def print_summary():
    """Show the table of scores, and say where the pictures are."""
    for name, place in (("Scores", "scores/table.md"), ("Pictures", "contact_sheet.png")):
        path = Path(RESULTS) / place
        if path.is_file():
            print(f"{name}: {path}")
            print(path.read_text() if path.suffix == ".md" else "")
