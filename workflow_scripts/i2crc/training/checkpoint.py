"""The files of a training run: its finished weights, and the checkpoint of an interrupted run.

Importing this module needs no torch, so that a finished training is recognised at once.
"""

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from i2crc.artifacts.provenance import write_beside
from i2crc.models.weight_files import UNREADABLE, file_metadata
from i2crc.runtime.atomic import atomic_path, digest_file, read_json
from i2crc.runtime.errors import InputError
from i2crc.runtime.log import log
from i2crc.training.options import Plan


def is_finished(plan: Plan) -> bool:
    """Return whether the run folder holds finished weights of this plan, and their history."""
    if not (plan.weights.is_file() and plan.history.is_file()):
        return False
    try:
        metadata = file_metadata(plan.weights)
    except InputError as error:
        log.warning("%s: these weights are damaged, so they are trained again", error)
        return False
    return (
        metadata.get("fingerprint") == plan.fingerprint
        # A kill may have left the history of another training.
        and metadata.get("history_sha256") == digest_file(plan.history)
    )


def publish(plan: Plan, weights: Path, history: Path) -> None:
    """Copy the results of a finished run to `weights` and `history`, with their provenance."""
    facts = {
        **file_metadata(plan.weights)["provenance"],
        "inputs": plan.origin.recorded_inputs(weights),
        **_duration(plan),
    }
    for source, target in ((plan.history, history), (plan.weights, weights)):
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)
        write_beside(target, facts)
    # A newer checkpoint is of another training, which may be continued later.
    if plan.checkpoint.is_file() and _written(plan.checkpoint) <= _written(plan.weights):
        plan.checkpoint.unlink()


def read_checkpoint(plan: Plan) -> dict[str, Any] | None:
    """Return the state that `write_checkpoint` saved of this plan; None if there is none.

    Log why if the checkpoint is damaged or of another plan.
    """
    import torch

    if not plan.checkpoint.is_file():
        return None
    try:
        state = torch.load(plan.checkpoint, map_location="cpu", weights_only=True)
        fingerprint = state["fingerprint"]
    except UNREADABLE as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        log.warning(
            "%s: this checkpoint is damaged (%s), so the training starts from its beginning",
            plan.checkpoint,
            reason,
        )
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


def _duration(plan: Plan) -> dict[str, Any]:
    """Return the start of a finished run and its seconds; those of its weights if it was lost."""
    if plan.duration.is_file():
        return read_json(plan.duration)
    written = datetime.fromtimestamp(_written(plan.weights), UTC)
    return {"start": written.isoformat(timespec="seconds"), "seconds": 0.0}


def _written(path: Path) -> float:
    return path.stat().st_mtime
