"""Explain how a file was made: every stage from the last to the first, and what changed since."""

import argparse
import json
import os
import shutil
import textwrap
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from i2crc.artifacts.lineage import (
    CHANGED,
    MISSING,
    SHARD,
    UNCHANGED,
    Artifact,
    Check,
    StageOutputs,
    flatten,
    shown,
    stages,
    trace,
)
from i2crc.artifacts.stages import STAGES
from i2crc.config.schema import Config
from i2crc.data.index import Entry, indexes_of, photo
from i2crc.runtime.errors import InputError

Row = tuple[str, str]

LABEL_WIDTH = 12
NAMED = 3
LOGITS = "low-resolution logits"
# Facts that are printed once if they are the same for all stages.
COMMON = ("device", "versions", "git")


@dataclass(frozen=True)
class Subject:
    """The photograph that a file was made from, and the class that the file is about."""

    entry: Entry
    photo: Path
    class_name: str | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this sub-command."""
    parser.add_argument("path", type=Path, help="any file below an experiment's folder")


def main(arguments: argparse.Namespace) -> None:
    """Print how the file was made; raise InputError if nothing is recorded of it."""
    file = Path(os.path.abspath(arguments.path))
    width = shutil.get_terminal_size((100, 24)).columns
    artifacts = trace(file)
    check, common = Check(), common_facts(artifacts)
    subject = find_subject(file, artifacts)
    parts = []
    for number, stage in enumerate(stages(artifacts), 1):
        shards = sum(one.is_shard for one in stage.artifacts)
        does = known.does if (known := STAGES.get(stage.script)) else shown(stage.artifacts[0].path)
        title = f"{number}. {stage.script}{f' ({shards} shards)' if shards > 1 else ''}: {does}"
        parts.append(paragraph(title, stage_rows(stage, check, common), width))
    if common:
        parts.append(paragraph("The same for all stages", list(common.items()), width))
    if photos := photographs(artifacts, subject, check):
        parts.append(paragraph("Photographs", photos, width))
    about = headline(file, artifacts[0], subject, check)
    verdict = "Everything that it was made from is unchanged."
    if count := len(check.problems):
        files = "1 file is" if count == 1 else f"{count} files are"
        verdict = f"{files} changed or missing: see CHANGED and MISSING below."
    print("\n\n".join([paragraph(f"{about} {verdict}", [], width), *parts]))


def find_subject(file: Path, artifacts: list[Artifact]) -> Subject | None:
    """Return the photograph of a file by its name, `ID` or `ID_CLASS`; None if there is none."""
    name, number = file.stem, None
    if artifacts[0].script == "infer_cam":
        name, _, number = file.stem.rpartition("_")
    for artifact, index in indexes_of(artifacts) if file in artifacts[0].files else ():
        for entry in index.images:
            if entry.id == name:
                class_name = index.classes[int(number)] if number else None
                return Subject(entry, photo(entry, artifact), class_name)
    return None


def headline(file: Path, first: Artifact, subject: Subject | None, check: Check) -> str:
    """Return what the file is, and whether it changed since it was made."""
    stage = STAGES.get(first.script)
    maker = f"{first.script}, which {stage.does if stage else 'is no stage of this version'}"
    if subject:
        kind = LOGITS if file.suffix == ".npz" else stage.makes if stage and stage.makes else "file"
        class_name = f" of class {subject.class_name}" if subject.class_name else ""
        what = f"the {kind}{class_name} of photograph {shown(subject.photo)}"
    else:
        what = f"an output of {maker}"
    if file not in first.files:
        return f"{shown(file)} is {what}."
    listed = first.files[file]
    state = {
        UNCHANGED: "It is unchanged since it was made.",
        CHANGED: "It was CHANGED since it was made, by hand or by another program: "
        f"{shown(first.path)} lists it with SHA-256 {listed}.",
        MISSING: f"It is MISSING: {shown(first.path)} lists it, but it is not there.",
    }[check.state(file, listed)]
    return f"{shown(file)} is {what}. {state}"


def photographs(artifacts: list[Artifact], subject: Subject | None, check: Check) -> list[Row]:
    """Return the photograph of the subject, or the number of photographs in each split."""
    if subject:
        state = check.state(subject.photo, subject.entry.sha256)
        return [
            ("photograph", f"{shown(subject.photo)}: {state}"),
            ("SHA-256", subject.entry.sha256),
        ]
    recorded: dict[str, dict[Path, str]] = {}
    lists: dict[str, str] = {}
    for artifact, index in indexes_of(artifacts):
        found = {photo(entry, artifact): entry.sha256 for entry in index.images}
        recorded.setdefault(index.split, {}).update(found)
        name = artifact.facts["settings"][f"{index.split}_list"]
        lists[index.split] = next(
            (shown(p) for p in artifact.inputs if str(p).endswith(name)), name
        )
    return [
        (split, f"listed in {lists[split]}; {files_text(check.states(photos))}")
        for split, photos in recorded.items()
    ]


def stage_rows(stage: StageOutputs, check: Check, common: dict[str, str]) -> list[Row]:
    """Return when a stage ran, with which settings and inputs, and the state of its files."""
    rows = [("output", name) for name in shards_as_one([one.path for one in stage.artifacts])]
    rows.append(("when", when(stage.artifacts)))
    rows += [("settings", settings_text(stage.script, v)) for v in stage.distinct("settings")]
    for fact in ("seed", "precision"):
        rows += [(fact, str(value)) for value in stage.distinct(fact) if value is not None]
    for fact in COMMON:
        if fact not in common:
            rows += [(fact, fact_text(fact, value)) for value in stage.distinct(fact)]
    rows += [("code", f"SHA-256 {value}") for value in stage.distinct("code_sha256")]
    rows += [("weights", text) for text in map(starting_weights, stage.artifacts) if text]
    rows += [("inputs", text) for text in inputs_text(stage, check)] or [("inputs", "none")]
    if stage.files:
        rows.append(("files", files_text(check.states(stage.files))))
    return rows


def when(artifacts: list[Artifact]) -> str:
    """Return the first start, and the time that the making of each artifact took."""
    start = min(datetime.fromisoformat(one.facts["start"]) for one in artifacts)
    seconds = [one.facts["seconds"] for one in artifacts]
    took = duration(max(seconds))
    if len(artifacts) > 1:
        took = f"{duration(min(seconds))} to {took} for each of {len(artifacts)} files"
    return f"{start:%Y-%m-%d %H:%M:%S} UTC, took {took}"


def duration(seconds: float) -> str:
    """Return seconds in words, as `4.2 s` or `2 h 3 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def settings_text(script: str, settings: Any) -> str:
    """Return the settings that differ from the defaults of the script's section."""
    if not settings:
        return "none"
    defaults = default_settings(script)
    given = flatten(settings)
    different = {k: v for k, v in given.items() if k not in defaults or defaults[k] != v}
    parts = [f"{key}: {json.dumps(v, ensure_ascii=False)}" for key, v in different.items()]
    if len(different) < len(given):
        parts.append(f"all {'others ' if different else ''}at their defaults")
    return ", ".join(parts)


def default_settings(script: str) -> dict[str, Any]:
    """Return the defaults of a script's section, flattened; empty if it has no section."""
    section = STAGES[script].settings if script in STAGES else None
    if section is None:
        return {}
    defaults = flatten(Config().model_dump())
    return {k.removeprefix(section): v for k, v in defaults.items() if k.startswith(section)}


def common_facts(artifacts: list[Artifact]) -> dict[str, str]:
    """Return the facts that are the same for all artifacts, as text."""
    everything = StageOutputs("", artifacts)
    values = {fact: everything.distinct(fact) for fact in COMMON}
    return {fact: fact_text(fact, v[0]) for fact, v in values.items() if len(v) == 1}


def fact_text(fact: str, value: Any) -> str:
    """Return a device, the versions, or the git revision in words."""
    if fact == "versions":
        return ", ".join(f"{name} {version}" for name, version in value.items())
    if fact == "git":
        if value is None:
            return "not recorded: the code was in no git repository"
        changed = " with uncommitted changes" if value["changed"] else ""
        return f"revision {value['revision']}{changed}"
    return str(value)


def starting_weights(artifact: Artifact) -> str | None:
    """Return where the weights of a network came from before its training; None for no network."""
    if artifact.path.suffix != ".safetensors":
        return None
    from i2crc.models.weight_files import read_metadata

    try:
        origin = read_metadata(artifact.path)["weights"]
    except InputError as error:
        return str(error)
    digest = f", SHA-256 {origin['sha256']}" if origin["sha256"] else ""
    return f"from {origin['source']}{digest}"


def inputs_text(stage: StageOutputs, check: Check) -> list[str]:
    """Return the inputs of a stage with their states."""
    states: dict[str, list[Path]] = {}
    for path, digests in stage.inputs.items():
        states.setdefault(check.state(path, *digests), []).append(path)
    says = {CHANGED: "CHANGED since, so this stage is stale"}
    return [
        f"{name}: {says.get(state, state)}"
        for state, paths in states.items()
        for name in shards_as_one(paths)
    ]


def shards_as_one(paths: list[Path]) -> list[str]:
    """Return the names of files, with one name for all shards of one kind."""
    kinds: dict[str, list[Path]] = {}
    for path in paths:
        kinds.setdefault(SHARD.sub(r"*-of-\1", shown(path)), []).append(path)
    return [
        f"{kind} ({len(alike)} files)" if len(alike) > 1 else shown(alike[0])
        for kind, alike in kinds.items()
    ]


def files_text(states: dict[str, list[Path]]) -> str:
    """Return the number of files, and those that are missing or changed."""
    count = sum(map(len, states.values()))
    if list(states) == [UNCHANGED]:
        return f"{count}, all unchanged"
    parts = []
    for state, paths in states.items():
        names = "" if state == UNCHANGED else f" ({some(paths)})"
        parts.append(f"{len(paths)} {state}{names}")
    return f"{count}: {', '.join(parts)}"


def some(paths: list[Path]) -> str:
    """Return the first few of some paths."""
    return ", ".join(map(shown, paths[:NAMED])) + (", ..." if len(paths) > NAMED else "")


def paragraph(title: str, rows: list[Row], width: int) -> str:
    """Return a title over labelled lines, wrapped to `width` columns; paths are never cut."""
    fill = partial(textwrap.fill, width=width, break_long_words=False, break_on_hyphens=False)
    lines = [fill(title)]
    last = None
    for label, text in rows:
        first = f"   {'' if label == last else label:<{LABEL_WIDTH}}"
        lines.append(fill(text, initial_indent=first, subsequent_indent=" " * len(first)))
        last = label
    return "\n".join(lines)
