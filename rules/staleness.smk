# What makes a stage stale: its settings, the code it runs, the content of what it reads. Never a
# time stamp, never how it is run.
#
# Snakemake compares parameters, so code and content enter each rule as parameters; `inputflags` in
# the Snakefile takes the time stamps out of it. It compares their values without their names, and
# leaves out functions of `input` or `output`: a number says what it is (`--seed 0`).
import functools
import re
import subprocess
import sys
import uuid
from contextlib import suppress

from i2crc.artifacts import IndexFile, read_checked
from i2crc.code import code_digest
from i2crc.contents import Contents, artifact_contents, damaged_files, is_damaged
from i2crc.download import local_path
from i2crc.files import read_json, write_bytes
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


# Inputs of these names have to be there first, but their content changes nothing: what preflight
# says is not read, and the manifest of the logits says what is in them.
ORDER_ONLY = ("preflight", "logits", "order")


def content(rule):
    """What the inputs of a rule contain, as a parameter, so that a change makes it stale.

    Time stamps mean nothing here (see `inputflags` in the Snakefile). All rules are checkpoints,
    because after one of those Snakemake looks anew at what is stale: if it made the same as before,
    nothing that follows runs. (Of what follows any other job it looks at nothing before that job has
    run, and would end a run there.)
    """

    def digests(wildcards):
        inputs = workflow.get_rule(rule).expand_input(wildcards)[0]
        named = [inputs.get(name, []) for name in ORDER_ONLY]
        unread = {
            file for found in named for file in ([found] if isinstance(found, str) else found)
        }
        return artifact_contents(set(inputs) - unread)

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


@functools.cache
def listed(split, folder):
    """The files below a folder that the list of a split may name, as its images, masks or maps.

    A file that no list names changes nothing. What is not sure, as the name has other characters
    than those that lists do not separate by, is taken for listed.
    """
    text = Path(DATA_ROOT) / getattr(CONFIG.dataset, f"{split}_list")
    words = text.read_text("utf-8-sig", errors="replace") if text.is_file() else ""
    names = set(re.split(r"[^\w./-]+", words, flags=re.ASCII))

    def may_be(path):
        for name in (path.name, str(path.relative_to(folder))):
            parts = name.split(".")
            if names.intersection(".".join(parts[:count]) for count in range(1, len(parts) + 1)):
                return True
        return bool(re.search(r"[^\w./-]", name, re.ASCII))

    files = filter(Path.is_file, Path(folder).rglob("*"))
    return tuple(sorted(str(path) for path in files if may_be(path)))


def data_set(split):
    """What the index of a split is made of: a digest of the list, its photographs and its masks."""
    if IS_DEMO:
        return ""
    root, settings = Path(DATA_ROOT), CONFIG.dataset
    files = [root / getattr(settings, f"{split}_list"), root / "classes.txt"]
    found = listed(split, root / settings.masks) if settings.masks else ()
    read = [*files, *listed(split, root / settings.images), *found]
    return digest_value([outside(*map(str, read)), found])


def masks(rule, wanted=lambda entry: True):
    """What the masks of the wanted images in its `index` contain, for a stage that reads them."""

    def digests(wildcards):
        index = Path(workflow.get_rule(rule).expand_input(wildcards)[0].index)
        entries = read_checked(index, IndexFile)["images"] if index.is_file() else []
        files = [entry["mask"] for entry in entries if entry["mask"] and wanted(entry)]
        # By name, because a moved data set holds the same. Looked at each time: the demo's may be
        # drawn anew in this very run.
        found = CONTENTS.digests(files)
        return digest_value({Path(path).name: sha for path, sha in found.items()})

    return digests


def source(address):
    """The digest of a file of the user's that an address names; of one from the web, none."""
    path = local_path(address)
    return outside(str(path)) if path else ""


def weight_file(weights):
    """The digest of a pretrained weight file of the user's."""
    return outside(weights.name) if weights.source == "file" else ""


def forget_damaged():
    """Remove what was edited or emptied by hand, so that its stage runs again.

    Of a shard with such files, or without some, the manifest, which says what is not so: the stage
    makes the damaged files alone. What is no JSON any more goes, too. Weights are copied from their
    finished run.
    """
    data = Path(RESULTS, "data")
    indexes = {*data.glob("*.json"), *data.glob("*/*.json")} - {data / "leaks.json"}
    for manifest in sorted(Path(RESULTS).rglob("*.json")):
        try:
            if manifest in indexes:
                read_checked(manifest, IndexFile)
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
    for beside in sorted(Path(RESULTS).rglob("*.provenance")):
        path = beside.with_suffix("")
        try:
            damaged = is_damaged(path, CONTENTS)
        except InputError as error:
            logger.warning(f"{error}: it will be made again")
            beside.unlink()
            path.unlink(missing_ok=True)
            continue
        if damaged:
            logger.warning(f"{path}: not what it was made as; it will be made again")
            path.unlink()


def forget_problems():
    """Remove what says that its stage has found problems.

    The stage looks again, for they may have been mended where nobody notices, as on a server.
    """
    for path in (*Path(RESULTS, "data").glob("*.json"), Path(RESULTS, "saliency/manifest.json")):
        content = read_json(path) if path.is_file() else {}
        if not isinstance(content, dict) or content.get("problems"):
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


def targets():
    """The targets asked for; not known before the rules are read."""
    return set(workflow.dag_settings.targets)


def begin_run():
    """Take these results for this run alone; WorkflowError where another one works on them."""
    if targets() == {"status"}:
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
            forget_problems()
    RUN_LOCK.release()


def show_status():
    """Print which stages are current, which are stale and why."""
    snakemake = [sys.executable, "-m", "snakemake", "all", "--detailed-summary"]
    # What was interrupted is to be told, not to stop it.
    options = ["--rerun-incomplete", *SAME_CONFIG]
    summary = subprocess.run([*snakemake, *options], capture_output=True, text=True)
    if summary.returncode:
        raise WorkflowError(summary.stderr)
    command = [sys.executable, str(SCRIPTS / "status.py"), "--config", CONFIG.model_dump_json()]
    subprocess.run(command, input=summary.stdout, text=True, check=True)


if workflow.is_main_process:
    require_writable(".snakemake", "")
RECORDS_LOST = workflow.is_main_process and records_are_lost()
if RECORDS_LOST and not {"--forceall", "-F"}.intersection(sys.argv):
    raise WorkflowError(
        f"{RESULTS}: Snakemake has no records of these results (the folder .snakemake was deleted, "
        "or they come from elsewhere), so it cannot tell what is stale. Run once with --forceall: "
        "every stage looks at what it has, and computes nothing again that is current"
    )
if workflow.is_main_process:
    look_at_results()
