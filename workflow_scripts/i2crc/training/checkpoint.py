"""The files of a run folder: the checkpoint of an interrupted run, the record of a finished one.

Importing this module needs no torch, so that a finished training is recognised at once.
"""

import os
import shutil
from pathlib import Path
from typing import Any

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
            {"provenance", "start", "seconds", "leaks", "weights_sha256"} <= record.keys()
            and record["fingerprint"] == plan.fingerprint
            and record["history_sha256"] == digest_file(plan.history)
            and record["weights_bytes"] == plan.weights.stat().st_size
        )
    except (InputError, OSError, KeyError, TypeError):
        return None
    return record if is_finished else None


def publish(plan: Plan, weights: Path, history: Path) -> None:
    """Copy the results of a finished run to `weights` and `history`, with their provenance.

    Of several processes of a training, the first one does it.
    """
    if os.environ.get("RANK", "0") != "0":
        return
    record = read_json(plan.finished)
    facts = {
        **record["provenance"],
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
    # A kill may have left the checkpoint of this run; a newer one is of another training.
    left = plan.checkpoint
    if left.is_file() and left.stat().st_mtime <= plan.finished.stat().st_mtime:
        left.unlink()


def read_checkpoint(plan: Plan) -> dict[str, Any] | None:
    """Return the state that `write_checkpoint` saved of this plan; None if there is none.

    Log why if the checkpoint is damaged or of another plan.
    """
    import torch

    if not plan.checkpoint.is_file():
        return None
    remedy = "the training starts from its beginning"
    try:
        with refusing(plan.checkpoint, "this checkpoint is damaged", remedy):
            state = torch.load(plan.checkpoint, map_location="cpu", weights_only=True)
            fingerprint = state["fingerprint"]
    except InputError as error:
        log.warning("%s", error)
        return None
    if fingerprint != plan.fingerprint:
        log.info("the checkpoint is of other settings, code or data: starting afresh")
        return None
    return state


def write_checkpoint(plan: Plan, state: dict[str, Any]) -> None:
    """Save the state of an interrupted run by atomic rename."""
    import torch

    # Through Python's own file, because torch hides the cause of an error, as a full disk.
    with atomic_path(plan.checkpoint) as temporary, open(temporary, "wb") as file:
        torch.save({"fingerprint": plan.fingerprint, **state}, file)
