# What makes a stage stale: its settings, the code it runs, the content of what it reads. Never a
# time stamp, never how it is run.
#
# Snakemake compares parameters, so code and content enter each rule as parameters; `inputflags` in
# the Snakefile takes the time stamps out of it.
import functools
import subprocess
import sys
import uuid
from contextlib import suppress

from i2crc.code import code_digest
from i2crc.contents import Contents, artifact_contents, damaged_files
from i2crc.files import digest_value, write_bytes
from i2crc.locks import Lock
from snakemake.logging import logger

CONTENTS = Contents(Path(CONFIG.results) / ".contents.json")
# The same text in both says that Snakemake's records are those of these results.
RUN_ID = Path(RESULTS) / ".run-id"
RECORDS_ID = Path(".snakemake") / "i2crc" / digest_value(RESULTS)[:16]
# Held by the one run that works on these results. The kernel frees it when that run is killed.
RUN_LOCK = Lock(Path(RESULTS) / ".lock")


def code(script):
    """The digest of what a script runs: a parameter, so that a change of code makes it stale.

    Unlike an input file it does not change with time stamps, comments or formatting.
    """
    return code_digest(SCRIPTS / f"{script}.py")


def content(rule, but=()):
    """What the inputs of a rule contain, as a parameter, so that a change makes it stale.

    Time stamps mean nothing here (see `inputflags` in the Snakefile). The files in `but` have to be
    there first, but change nothing. All rules are checkpoints, because after one of those
    Snakemake looks anew at what is stale: if it made the same as before, nothing that follows runs.
    (Of what follows a job that runs it looks at nothing before, and would end a run there.)
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

    It says what is not so. Its stage runs again and makes the damaged files alone. What is no JSON
    any more goes, too.
    """
    for manifest in sorted(Path(RESULTS).rglob("*.json")):
        try:
            names = damaged_files(manifest, CONTENTS)
        except InputError as error:
            logger.warning(f"{error}: it will be made again")
            manifest.unlink()
            continue
        if names:
            logger.warning(
                f"{manifest}: {len(names)} of its files are not what they were made as (first: "
                f"{names[0]}); they will be made again"
            )
            manifest.unlink()


def records_are_lost():
    """Whether Snakemake's records are not those of these results.

    The folder .snakemake was deleted, or the results were copied here.
    """
    return Path(RESULTS, "data").exists() and not records_match()


def records_match():
    """Whether it is noted that Snakemake's records are those of these results."""
    return (
        RUN_ID.is_file() and RECORDS_ID.is_file() and RUN_ID.read_bytes() == RECORDS_ID.read_bytes()
    )


def remember_run():
    """Note that Snakemake's records are those of these results."""
    if records_match():
        return  # a kill between the two files would lose what is known
    name = uuid.uuid4().hex.encode()
    for path in (RUN_ID, RECORDS_ID):
        write_bytes(path, name)


def begin_run():
    """Take these results for this run alone; WorkflowError where another one works on them."""
    if workflow.dag_settings.targets == {"status"}:
        return
    try:
        taken = RUN_LOCK.take()
    except OSError as error:
        raise WorkflowError(f"{RUN_LOCK.path}: {error.strerror}; mend that, and start again")
    if not taken:
        raise WorkflowError(
            f"{RESULTS}: {RUN_LOCK.holder()} is already at work on these results. Wait for it, or "
            "stop it with Ctrl-C (what it has finished is kept), or give this run results of its "
            "own: --config experiment=NAME"
        )


def look_at_results():
    """Forget what is damaged, unless another run is at work: it did that when it began."""
    with suppress(OSError):  # results that cannot be written to can be looked at all the same
        if Path(RESULTS).is_dir() and RUN_LOCK.take():
            forget_damaged()
    RUN_LOCK.release()


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
    look_at_results()
