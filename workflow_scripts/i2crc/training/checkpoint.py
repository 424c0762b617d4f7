"""What a training leaves: finished weights, and a checkpoint of an interrupted run."""

import shutil
from typing import Any

from i2crc.artifacts.provenance import write_beside
from i2crc.models.weight_files import file_metadata
from i2crc.runtime.atomic import atomic_path, read_json
from i2crc.runtime.errors import InputError
from i2crc.runtime.log import log
from i2crc.training.options import Plan


def is_finished(plan: Plan) -> bool:
    """Return whether the run folder holds finished weights of this plan."""
    if not (plan.weights.is_file() and plan.history.is_file()):
        return False
    try:
        return file_metadata(plan.weights).get("fingerprint") == plan.fingerprint
    except InputError as error:
        log.warning("%s: these weights are damaged, so they are trained again", error)
        return False


def publish(plan: Plan, weights: Any, history: Any) -> None:
    """Copy the results of a finished run to their declared places, with their provenance."""
    duration = read_json(plan.duration) if plan.duration.is_file() else {}
    made = file_metadata(plan.weights)["provenance"]
    facts = {**plan.origin.lasting(weights), **made, **duration}
    for source, target in ((plan.history, history), (plan.weights, weights)):
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)
        write_beside(target, facts)
