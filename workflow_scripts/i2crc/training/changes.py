"""Why a network is trained again, for messages before a run; no stage imports this."""

import json
from typing import Any

from i2crc.artifacts.lineage import flatten
from i2crc.runtime.atomic import read_json
from i2crc.training.checkpoint import other_runs, read_finished
from i2crc.training.options import Plan


def why_again(plan: Plan) -> list[str]:
    """Return what changed since the newest finished training, a sentence for each.

    Return an empty list if the training of the plan is kept, or nothing was trained before.
    """
    if read_finished(plan):
        return []
    if plan.finished.exists():
        return ["its finished weights are missing or damaged"]
    records = (folder / plan.finished.name for folder in other_runs(plan))
    former = next((read_json(record) for record in records if record.is_file()), None)
    return differences(former["determined_by"], plan.determined_by) if former else []


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return a sentence for each setting and each input that differs; see `Plan.determined_by`."""
    old, new = flatten(before["settings"]), flatten(now["settings"])
    settings = [
        f"{name} was {_shown(old[name])}, is {_shown(value)}"
        for name, value in new.items()
        if name in old and old[name] != value
    ]
    digests = now["inputs"].items()
    inputs = [name for name, digest in digests if before["inputs"].get(name) != digest]
    return [*settings, *(f"its {name} changed" for name in inputs)]


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
