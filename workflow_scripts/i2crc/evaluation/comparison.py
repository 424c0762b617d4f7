"""Experiments side by side: scores with paired intervals, and the settings that differ."""

import csv
import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from i2crc.artifacts.lineage import Artifact, flatten, stages, trace
from i2crc.artifacts.schemas import Score, read_checked
from i2crc.data.index import indexes_of
from i2crc.runtime.atomic import digest_value
from i2crc.runtime.errors import InputError

if TYPE_CHECKING:
    import numpy as np

# `label:hits:truth:predicted:ignored` for each label of an image.
COUNTS = re.compile(r"([0-9]{1,3}(:[0-9]{1,15}){4}( |$))*")
# The facts of the provenance that are compared.
FACTS = ("settings", "seed", "precision", "device", "code_sha256", "git", "versions")


@dataclass(frozen=True)
class Experiment:
    """The scores of one results folder: stage -> content of its JSON."""

    name: str
    folder: Path
    scores: dict[str, dict[str, Any]]

    def file(self, stage: str) -> Path:
        """Return the score file of a stage."""
        return self.folder / "scores" / f"{stage}.json"

    def images_file(self, stage: str) -> Path:
        """Return the file of a stage's scores per image."""
        return self.folder / "scores" / f"{stage}.images.csv"


def read_experiments(folders: list[Path]) -> list[Experiment]:
    """Read the scores of results folders, the baseline first.

    Raise InputError for fewer than two folders, a folder without scores, or different classes.
    """
    if len({folder.resolve() for folder in folders}) < max(2, len(folders)):
        raise InputError(
            f"compare.experiments is {list(map(str, folders))}: give two or more different results "
            "folders, the baseline first"
        )
    unique = len({folder.name for folder in folders}) == len(folders)
    experiments = []
    for folder in folders:
        contents = [read_checked(file, Score) for file in sorted(folder.glob("scores/*.json"))]
        scores = {content["stage"]: content for content in contents}
        if not scores:
            raise InputError(
                f"{folder}: no scores below it (scores/*.json); run its experiment, or give the "
                "folder RESULTS/EXPERIMENT"
            )
        experiments.append(Experiment(folder.name if unique else str(folder), folder, scores))
    _require_same_classes(experiments)
    return experiments


def compared_stages(experiments: list[Experiment]) -> tuple[list[str], list[str]]:
    """Return the stages that two or more experiments have measured, and notes on the others.

    The stages are in the order of the pipeline. Raise InputError if there is none.
    """
    depth: dict[str, int] = {}
    notes = []
    for stage in dict.fromkeys(stage for one in experiments for stage in one.scores):
        having = having_measured(stage, experiments)
        if len(having) > 1:
            # A stage has more stages behind it than each of those that it is made from.
            depth[stage] = len(stages(trace(having[0].file(stage))))
        else:
            names = f"only {having[0].name} has" if having else "none has"
            notes.append(f"{stage}: {names} a score of it, so it is not compared.")
    if not depth:
        raise InputError(f"nothing to compare: {' '.join(notes)} Score the same stages of each.")
    return sorted(depth, key=lambda stage: (depth[stage], stage)), notes


def having_measured(stage: str, experiments: list[Experiment]) -> list[Experiment]:
    """Return the experiments with a score of a stage; a null score (no masks) does not count."""
    return [one for one in experiments if one.scores.get(stage, {}).get("miou") is not None]


def compare_stage(
    stage: str, experiments: list[Experiment], replicates: int
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return a row for each experiment that has measured a stage, and notes for the reader.

    A row holds "stage", "split", "experiment", "images", "miou" and "miou_interval" of all images
    of the experiment. All rows but that of the baseline (the first of `experiments`) also hold
    "common_images", "difference", "difference_interval" (95 %, by a paired bootstrap) and
    "differs" ("higher", "lower", or "" if the interval holds 0). These are of the images that the
    experiment and the baseline share.
    """
    rows, notes = [], []
    base = experiments[0]
    having = having_measured(stage, experiments)
    for one in having:
        score = one.scores[stage]
        row = {key: score[key] for key in ("stage", "split")}
        row["experiment"] = one.name
        row.update({key: score[key] for key in ("images", "miou", "miou_interval")})
        if base in having and one is not base:
            difference, found = _difference(stage, base, one, replicates)
            row.update(difference)
            notes += [f"{stage}, {one.name} against {base.name}: {note}" for note in found]
        rows.append(row)
    return rows, notes


def read_images(path: Path) -> dict[str, str]:
    """Return the counts of each image, as text, from a CSV of scores per image."""
    try:
        with open(path, newline="") as file:
            images = {row["id"]: row["counts"] for row in csv.DictReader(file)}
    except FileNotFoundError as error:
        raise InputError(f"{path}: missing; score this stage again") from error
    except KeyError as error:
        raise InputError(f"{path}: no column {error}; score this stage again") from error
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: not readable ({error}); score this stage again") from error
    for image_id, counts in images.items():
        if not COUNTS.fullmatch(counts or ""):
            raise InputError(
                f"{path}: counts of {image_id} are {counts!r:.80}; score this stage again"
            )
    return images


def resample(
    images: dict[str, str], chosen: Collection[str], num_labels: int, replicates: int
) -> tuple[float, "np.ndarray"]:
    """Return the mIoU of the chosen images, and the (R,) mIoU of its bootstrap replicates."""
    from i2crc.evaluation.bootstrap import Bootstrap, read_counts  # which imports numpy

    whole, resampled = Bootstrap(num_labels, 1), Bootstrap(num_labels, replicates)
    for image_id in chosen:
        counts = read_counts(images[image_id], num_labels)
        whole.sums[..., 0] += counts
        resampled.add(image_id, counts)
    return float(whole.mious()[0]), resampled.mious()


def differing_settings(experiments: list[Experiment], compared: list[str]) -> list[dict[str, Any]]:
    """Return the settings and facts that differ between the stages behind the compared scores.

    A row holds the "stages" (scripts) that it concerns, the "setting" (a dotted key) and its
    "values" by experiment. A script that only some experiments ran has a row with the setting
    "used".
    """
    facts: dict[str, dict[str, dict[str, Any]]] = {}
    for one in experiments:
        measured = [stage for stage in compared if one in having_measured(stage, experiments)]
        behind = {a.path: a for stage in measured for a in trace(one.file(stage))}
        facts[one.name] = _facts_of(list(behind.values()))
    scripts = dict.fromkeys(script for found in facts.values() for script in found)
    rows: dict[str, dict[str, Any]] = {}
    for script in scripts:
        having = [name for name in facts if script in facts[name]]
        found = {name: facts[name].get(script, {}) for name in facts}
        differing = {
            key: {name: found[name].get(key) for name in facts}
            for key in dict.fromkeys(key for values in found.values() for key in values)
            if len({json.dumps(found[name].get(key)) for name in having}) > 1
        }
        if len(having) < len(facts):
            differing = {"used": {name: name in having for name in facts}, **differing}
        for setting, values in differing.items():
            row = {"stages": [], "setting": setting, "values": values}
            rows.setdefault(json.dumps([setting, values]), row)["stages"].append(script)
    return list(rows.values())


def _require_same_classes(experiments: list[Experiment]) -> None:
    first = None
    for one in experiments:
        for stage, score in one.scores.items():
            first = first or (one.file(stage), list(score["iou"]))
            if list(score["iou"]) != first[1]:
                raise InputError(
                    f"{one.file(stage)}: its classes are {', '.join(score['iou'])}, those of "
                    f"{first[0]} are {', '.join(first[1])}; compare experiments on the same classes"
                )


def _difference(
    stage: str, base: Experiment, one: Experiment, replicates: int
) -> tuple[dict[str, Any], list[str]]:
    """Return the difference of an experiment to the baseline on their common images, and notes."""
    from i2crc.evaluation.bootstrap import interval  # which imports numpy

    images = [read_images(each.images_file(stage)) for each in (base, one)]
    common = [image_id for image_id in images[0] if image_id in images[1]]
    num_labels = len(base.scores[stage]["iou"])
    notes = _notes(stage, base, one, images, common)
    row: dict[str, Any] = {"common_images": len(common)}
    if not common:
        return {**row, "difference": None, "difference_interval": None, "differs": ""}, notes
    (base_miou, base_replicates), (miou, own_replicates) = (
        resample(each, common, num_labels, replicates) for each in images
    )
    limits = interval(own_replicates - base_replicates)
    higher, lower = limits is not None and limits[0] > 0, limits is not None and limits[1] < 0
    row["difference"] = miou - base_miou
    row["difference_interval"] = limits
    row["differs"] = "higher" if higher else "lower" if lower else ""
    return row, notes


def _notes(
    stage: str,
    base: Experiment,
    one: Experiment,
    images: list[dict[str, str]],
    common: list[str],
) -> list[str]:
    notes = []
    splits = [each.scores[stage]["split"] for each in (one, base)]
    if splits[0] != splits[1]:
        notes.append(f"the split is {splits[0]} against {splits[1]}.")
    if not len(common) == len(images[0]) == len(images[1]):
        notes.append(
            f"{len(images[1])} images against {len(images[0])}; the difference is of the "
            f"{len(common)} that both have."
        )
    other = sum(_truth(images[0][i]) != _truth(images[1][i]) for i in common)
    if other:
        notes.append(
            f"the ground truth of {other} common images differs; do not trust the difference."
        )
    return notes


def _truth(counts: str) -> dict[str, str]:
    """Return label -> its pixels in the ground truth, from the text of an image's counts."""
    fields = [field.split(":") for field in counts.split()]
    return {label: truth for label, _, truth, _, _ in fields if truth != "0"}


def _facts_of(artifacts: list[Artifact]) -> dict[str, dict[str, Any]]:
    """Return script -> fact -> its value; if artifacts differ, all their values as one text."""
    values: dict[str, dict[str, dict[str, Any]]] = {}
    for artifact in artifacts:
        found = values.setdefault(artifact.script, {})
        facts = {fact: artifact.facts[fact] for fact in FACTS}
        facts["code_sha256"] = facts["code_sha256"][:8]
        for key, value in flatten(facts).items():
            found.setdefault(key, {})[json.dumps(value)] = value
    told = {
        script: {key: _one(different) for key, different in found.items()}
        for script, found in values.items()
    }
    images: dict[str, dict[str, list[Any]]] = {}
    for _, index in indexes_of(artifacts):
        known = images.setdefault(index.split, {})
        known.update({e.id: [e.sha256, e.classes, e.mask is not None] for e in index.images})
    for split, entries in images.items():
        digest = digest_value(entries)[:8]
        told["prepare_data"][f"{split} images"] = f"{len(entries)} (digest {digest})"
    return told


def _one(different: dict[str, Any]) -> Any:
    return next(iter(different.values())) if len(different) == 1 else " | ".join(sorted(different))
