"""The folders of runs: the checkpoint of an interrupted run, the record of a finished one.

Importing this module needs no torch, so that a finished training is recognised at once.
"""

import os
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from i2crc.artifacts.neighbours import in_neighbours, take
from i2crc.artifacts.provenance import provenance_file
from i2crc.models.weight_files import refusing
from i2crc.runtime.atomic import atomic_path, digest_file, read_json, write_json
from i2crc.runtime.errors import InputError
from i2crc.runtime.log import log
from i2crc.training.options import Plan


def read_finished(plan: Plan) -> dict[str, Any] | None:
    """Return the record of the finished run of a plan; None if it has to be trained.

    A kill may have left the history or the weights of another training.
    """
    try:
        record = read_json(plan.finished)
        is_finished = (
            {"facts", "start", "seconds", "leaks", "weights_sha256"} <= record.keys()
            and record["fingerprint"] == plan.fingerprint
            and record["history_sha256"] == digest_file(plan.history)
            and record["weights_bytes"] == plan.weights.stat().st_size
        )
    except (InputError, OSError, KeyError, TypeError):
        return None
    return record if is_finished else None


def take_over(plan: Plan) -> dict[str, Any] | None:
    """Take over the finished run of a plan from an experiment beside this one; return its record.

    Return None if there is none. The processes of a training that has begun do not look: they may
    find different things.
    """
    for folder in [] if "RANK" in os.environ else in_neighbours(plan.folder):
        other = replace(plan, runs=folder.parent)
        if read_finished(other):
            with suppress(OSError):  # somebody deletes it just now
                for name in ("weights", "history", "finished"):  # the record last
                    take(getattr(other, name), getattr(plan, name))
            if record := read_finished(plan):
                log.info("taken over from %s", folder)
                return record
    return None


def publish(plan: Plan, weights: Path, history: Path) -> None:
    """Copy the results of a finished run to `weights` and `history`, with their provenance.

    Of several processes of a training, the first one does it.
    """
    if os.environ.get("RANK", "0") != "0":
        return
    record = read_json(plan.finished)
    facts = {
        **record["facts"],
        "inputs": plan.origin.recorded_inputs(weights),
        "start": record["start"],
        "seconds": record["seconds"],
    }
    for source, target, name in (
        (plan.history, history, "history"),
        (plan.weights, weights, "weights"),
    ):
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)
        own = {"sha256": record[f"{name}_sha256"], "bytes": target.stat().st_size}
        write_json(provenance_file(target), {**facts, **own})
    plan.checkpoint.unlink(missing_ok=True)  # a kill may have left it
    os.utime(plan.folder)  # the run in use is the newest


def other_runs(plan: Plan) -> list[Path]:
    """Return the folders of the other runs of a network, the newest first."""
    folders = [folder for folder in plan.runs.glob("[0-9a-f]" * 16) if folder != plan.folder]
    return sorted(folders, key=os.path.getmtime, reverse=True)


def forget_runs(plan: Plan) -> None:
    """Delete the oldest runs, so that with the one of the plan `runtime.keep_trainings` stay."""
    keep = plan.runtime.keep_trainings
    for folder in other_runs(plan)[keep - 1 :]:
        log.info("%s: deleted, the newest %d trainings stay (runtime.keep_trainings)", folder, keep)
        shutil.rmtree(folder, ignore_errors=True)  # what is left is deleted the next time


def read_checkpoint(plan: Plan) -> dict[str, Any] | None:
    """Return the state that `write_checkpoint` saved of this plan; None if there is none.

    Log why if the checkpoint is damaged.
    """
    import torch

    if not plan.checkpoint.is_file():
        return None
    remedy = "the training starts from its beginning"
    try:
        with refusing(plan.checkpoint, "this checkpoint is damaged", remedy):
            state = torch.load(plan.checkpoint, map_location="cpu", weights_only=True)
            if state["fingerprint"] != plan.fingerprint:
                raise ValueError("it is of another training")
    except InputError as error:
        log.warning("%s", error)
        return None
    return state


def write_checkpoint(plan: Plan, state: dict[str, Any]) -> None:
    """Save the state of an interrupted run by atomic rename."""
    import torch

    # Through Python's own file, because torch hides the cause of an error, as a full disk.
    with atomic_path(plan.checkpoint) as temporary, open(temporary, "wb") as file:
        torch.save({"fingerprint": plan.fingerprint, **state}, file)
