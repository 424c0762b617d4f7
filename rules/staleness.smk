# What makes a stage stale: its settings, the code it runs, the content of what it reads. Never a
# time stamp, never how it is run.
#
# Snakemake compares parameters, so code and content enter each rule as parameters; `inputflags` in
# the Snakefile takes the time stamps out of it.
import functools
import subprocess
import sys
import uuid

from i2crc.code import code_digest
from i2crc.contents import Contents, artifact_contents, damaged_files
from i2crc.files import digest_value, read_json, write_bytes
from snakemake.logging import logger

CONTENTS = Contents(Path(CONFIG.results) / ".contents.json")
# The same text in both says that Snakemake's records are those of these results.
RUN_ID = Path(RESULTS) / ".run-id"
RECORDS_ID = Path(".snakemake") / "i2crc" / digest_value(RESULTS)[:16]


def code(script):
    """The digest of what a script runs: a parameter, so that a change of code makes it stale.

    Unlike an input file it does not change with time stamps, comments or formatting.
    """
    return code_digest(SCRIPTS / f"{script}.py")


def content(rule, but=()):
    """What the inputs of a rule contain, as a parameter, so that a change makes it stale.

    Time stamps mean nothing here (see `inputflags` in the Snakefile). The files in `but` have to be
    there first, but change nothing. Rules whose output others read are checkpoints, because
    after one of those Snakemake looks anew at what is stale: if it made the same as before,
    nothing that follows runs.
    """

    def digests(wildcards):
        files = workflow.get_rule(rule).expand_input(wildcards)[0]
        return artifact_contents(set(files).difference(but))

    return digests


@functools.cache  # asked for by several rules, and again after every checkpoint
def outside(*paths):
    """A digest of the content of files outside the results, and of all files in folders.

    A parameter like `code`. What is not there counts too.
    """
    files = []
    for path in map(Path, paths):
        files += filter(Path.is_file, path.rglob("*")) if path.is_dir() else [path]
    return digest_value(CONTENTS.digests(files))


def dataset(*keys):
    """The digest of the parts of the user's data set that the settings `keys` name."""
    parts = [getattr(CONFIG.dataset, key) for key in keys]
    return "" if IS_DEMO else outside(*(Path(DATA_ROOT) / part for part in parts if part))


def weight_file(weights):
    """The digest of a pretrained weight file of the user's."""
    return outside(weights.name) if weights.source == "file" else ""


def forget_damaged():
    """Remove the manifest of a shard whose files were edited, emptied or deleted.

    It says what is not so. Its stage runs again and makes the damaged files alone.
    """
    for manifest in sorted(Path(RESULTS).rglob("*.json")):
        names = damaged_files(manifest, CONTENTS)
        if names:
            logger.warning(
                f"{manifest}: {len(names)} of its files are not what they were made as (first: "
                f"{names[0]}); they will be made again"
            )
            manifest.unlink()


def forget_problems():
    """Remove what says that its stage has found problems.

    The stage looks again, for they may have been mended where nobody notices, as on a server.
    """
    for path in (*Path(RESULTS, "data").glob("*.json"), Path(RESULTS, "saliency/manifest.json")):
        if path.is_file() and read_json(path).get("problems"):
            path.unlink()


def require_writable(folder, remedy):
    """Stop with a plain message where a folder cannot be written."""
    path = Path(folder).absolute()
    there = next(place for place in (path, *path.parents) if place.exists())
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        raise WorkflowError(
            f"{there}: cannot be written (a read-only disk, no permission, or no folder), which "
            f"{folder} needs; mend that{remedy}"
        )


def records_are_lost():
    """Whether Snakemake's records are not those of these results.

    The folder .snakemake was deleted, or the results were copied here.
    """
    if not Path(RESULTS, "data").exists():
        return False
    return not (
        RUN_ID.is_file() and RECORDS_ID.is_file() and RUN_ID.read_bytes() == RECORDS_ID.read_bytes()
    )


def remember_run():
    """Note that Snakemake's records are those of these results."""
    name = uuid.uuid4().hex.encode()
    for path in (RUN_ID, RECORDS_ID):
        write_bytes(path, name)


def show_status():
    """Print which stages are current, which are stale and why."""
    snakemake = [sys.executable, "-m", "snakemake", "all", "--summary", *SAME_CONFIG]
    summary = subprocess.run(snakemake, capture_output=True, text=True)
    if summary.returncode:
        raise WorkflowError(summary.stderr)
    command = [sys.executable, str(SCRIPTS / "status.py"), "--config", CONFIG.model_dump_json()]
    subprocess.run(command, input=summary.stdout, text=True, check=True)


RECORDS_LOST = workflow.is_main_process and records_are_lost()
if RECORDS_LOST and not {"--forceall", "-F"}.intersection(sys.argv):
    raise WorkflowError(
        f"{RESULTS}: Snakemake has no records of these results (the folder .snakemake was deleted, "
        "or they come from elsewhere), so it cannot tell what is stale. Run once with --forceall: "
        "every stage looks at what it has, and computes nothing again that is current"
    )
if workflow.is_main_process:
    require_writable(".snakemake", "")
    forget_problems()
    forget_damaged()
