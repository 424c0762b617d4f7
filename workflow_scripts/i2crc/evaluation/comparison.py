"""Experiments side by side: scores with paired intervals, and the settings that differ."""

import csv
import json
import os
import shlex
from contextlib import suppress
from pathlib import Path
from typing import Any

from i2crc.artifacts.lineage import CHANGED, find_artifact, flatten, shown, state, trace
from i2crc.artifacts.provenance import content_digest
from i2crc.artifacts.schemas import Score, read_checked
from i2crc.artifacts.stages import SCORED
from i2crc.config.load import read_yaml
from i2crc.data.index import indexes_of
from i2crc.runtime.errors import InputError, no_such

# Folder of an experiment, the baseline first -> stage -> its score, if it was measured.
Experiments = dict[Path, dict[str, dict[str, Any]]]

# End of the names of a kind of mIoU -> whether it counts predicted 255 as background.
MIOUS = {"_255_as_background": True, "": False}

# The facts of the provenance that are compared.
FACTS = ("settings", "seed", "precision", "device", "code_sha256", "git", "versions")


def read_experiments(folders: list[Path]) -> Experiments:
    """Return the scores of results folders.

    Raise InputError for fewer than two folders, or a folder without scores.
    """
    if len({folder.resolve() for folder in folders}) < max(2, len(folders)):
        raise InputError(
            f"compare.experiments is {list(map(str, folders))}: give two or more different results "
            "folders, the baseline first"
        )
    experiments: Experiments = {}
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{folder}: {no_such('folder', folder)}; correct compare.experiments")
        scores = [read_score(path) for path in sorted(folder.glob("scores/*.json"))]
        if not scores:
            raise InputError(
                f"{folder}: no scores below it (scores/*.json); give a folder RESULTS/EXPERIMENT, "
                f"or make them: {make_command(folder, ['scores'])}"
            )
        experiments[folder] = {s["stage"]: s for s in scores if s["miou"] is not None}
    return experiments


def read_score(path: Path) -> dict[str, Any]:
    """Return a score. Raise InputError, with the command that makes it again, if it is damaged."""
    try:
        return read_checked(path, Score)
    except InputError as error:
        command = make_command(path.parents[1], [str(path)])
        raise InputError(
            f"{error}. An older version may have written it. This makes it again: {command}"
        ) from None


def compared_stages(experiments: Experiments) -> tuple[list[str], list[str]]:
    """Return the stages that all experiments have measured, and notes on what each has and lacks.

    Raise InputError if there is no such stage.
    """
    known = [stage for stage in SCORED if any(stage in one for one in experiments.values())]
    stages = [stage for stage in known if all(stage in one for one in experiments.values())]
    notes = []
    for folder, scores in experiments.items():
        found = ", ".join(stage for stage in known if stage in scores) or "no stage"
        missing = [stage for stage in known if stage not in scores]
        notes.append(f"{folder} has scores of {found}.")
        if missing:
            command = make_command(folder, [f"{folder}/scores/{stage}.json" for stage in missing])
            notes.append(
                f"{folder} has no score of {', '.join(missing)}, left out here; if it has masks, "
                f"run: {command}"
            )
        notes += outdated(folder, stages)
    if not stages:
        raise InputError("\n".join(["no stage has a score in every experiment", *notes]))
    return stages, notes


def outdated(folder: Path, stages: list[str]) -> list[str]:
    """Return a sentence for each score of an experiment whose inputs have changed since."""
    notes = []
    for stage in stages:
        path = folder / f"scores/{stage}.json"
        artifact = find_artifact(path.absolute())
        inputs = artifact.inputs.items() if artifact else ()
        changed = [shown(file) for file, digest in inputs if state(file, digest) == CHANGED]
        if changed:
            notes.append(
                f"{path} is of before {', '.join(changed)} changed: do not trust it; make it "
                f"again: {make_command(folder, [str(path)])}"
            )
    return notes


def make_command(folder: Path, targets: list[str]) -> str:
    """Return the command line that makes targets of an experiment with its own settings."""
    options = ["--configfile", f"{folder}/config.yaml"]
    with suppress(InputError, KeyError, TypeError):  # not saved by an older version, or damaged
        saved = read_yaml(folder / "config.yaml")
        if Path(saved["results"], saved["experiment"]) != folder:  # the folder is a copy
            options += ["--config", f"results={folder.parent}", f"experiment={folder.name}"]
    return shlex.join(["snakemake", "--cores", "all", *targets, *options])


def compare_stage(
    stage: str, experiments: Experiments, replicates: int
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return a row for each experiment, and notes for the reader.

    A row holds "stage", "split", "experiment", "images", "coverage", and the mIoU of each kind of
    `MIOUS` with its "_interval", of all images of the experiment. All rows but that of the baseline
    also hold what `paired_difference` returns.
    Raise InputError if an experiment has other classes than the baseline.
    """
    base = next(iter(experiments))
    rows, notes = [], []
    for folder, scores in experiments.items():
        score = scores[stage]
        row = {"stage": stage, "split": score["split"], "experiment": str(folder)}
        row |= {key: score[key] for key in ("images", "coverage")}
        row |= {
            f"miou{kind}{end}": score[f"miou{kind}{end}"]
            for kind in MIOUS
            for end in ("", "_interval")
        }
        rows.append(row)
        if folder == base:
            continue
        classes, expected = (", ".join(experiments[each][stage]["iou"]) for each in (folder, base))
        if classes != expected:
            raise InputError(
                f"{folder}: the classes of {stage} are {classes}, those of {base} are {expected}; "
                "compare experiments on the same classes"
            )
        files = [each / f"scores/{stage}.images.csv" for each in (base, folder)]
        difference, found = paired_difference(files, len(score["iou"]), replicates)
        row |= difference
        notes += [f"{stage}, {folder} against {base}: {note}" for note in found]
    return rows, notes


def paired_difference(
    files: list[Path], labels: int, replicates: int
) -> tuple[dict[str, Any], list[str]]:
    """Return how the second of two scores of images differs from the first, and notes.

    files: CSV files of scores per image, that of the baseline first. The difference holds
    "common_images", and `described_difference` for each kind of `MIOUS`. These are of the images
    that both have.
    """
    changes, common, notes = paired_changes(files, labels, replicates)
    row: dict[str, Any] = {"common_images": common}
    for kind, (change, drawn) in changes.items():
        row |= described_difference(kind, change, drawn)
    return row, notes


def described_difference(kind: str, change: float, drawn: Any) -> dict[str, Any]:
    """Return "differenceKIND", "differenceKIND_interval" (95 %) and "differsKIND".

    change: the difference. drawn: (R,) that of each replicate. The last one is "higher", "lower",
    or "" if the interval holds 0.
    """
    from i2crc.evaluation.bootstrap import interval  # only here: it needs numpy

    limits = interval(drawn)
    differs = limits is not None and not limits[0] <= 0 <= limits[1]
    return {
        f"difference{kind}": None if limits is None else float(change),
        f"difference{kind}_interval": limits,
        f"differs{kind}": ("higher" if change > 0 else "lower") if differs else "",
    }


def paired_changes(
    files: list[Path], labels: int, replicates: int
) -> tuple[dict[str, tuple[float, Any]], int, list[str]]:
    """Return the change of each kind of `MIOUS`, the number of common images, and notes.

    files: see `paired_difference`. A change is a number, and (R,) that of each resample of the
    common images; resample r draws the same of them for all files.
    """
    import numpy as np  # only here: a comparison that is already made needs none

    base, own = (read_images(path, labels) for path in files)
    common = [image for image in base if image in own]
    notes = []
    if not len(common) == len(base) == len(own):
        notes.append(
            f"{len(own)} images against {len(base)}; the difference is of the {len(common)} that "
            "both have."
        )
    changed = sum(not np.array_equal(base[image][1], own[image][1]) for image in common)
    if changed:
        notes.append(
            f"the ground truth of {changed} common images differs; do not trust the difference."
        )
    (base_whole, base_drawn), (whole, drawn) = (
        resample({image: images[image] for image in common}, labels, replicates)
        for images in (base, own)
    )
    changes = {}
    for kind, as_background in MIOUS.items():
        (change,) = whole.mious(as_background) - base_whole.mious(as_background)
        changes[kind] = change, drawn.mious(as_background) - base_drawn.mious(as_background)
    return changes, len(common), notes


def read_images(path: Path, labels: int) -> dict[str, Any]:
    """Return the (4, labels) counts of each image from a CSV of scores per image.

    Raise InputError if the file is missing or damaged.
    """
    from i2crc.evaluation.bootstrap import read_counts

    try:
        with open(path, newline="") as file:
            return {row["id"]: read_counts(row["counts"], labels) for row in csv.DictReader(file)}
    except (OSError, ValueError, LookupError, OverflowError, AttributeError, csv.Error) as error:
        raise InputError(f"{path}: missing or damaged ({error}); score this stage again") from error


def resample(images: dict[str, Any], labels: int, replicates: int) -> tuple[Any, Any]:
    """Return the `Bootstrap` of images (id -> (4, labels) counts).

    Before it, return one with a single replicate, which holds every image once.
    """
    from i2crc.evaluation.bootstrap import Bootstrap

    whole, resampled = Bootstrap(labels, 1), Bootstrap(labels, replicates)
    for image, counts in images.items():
        whole.sums[..., 0] += counts
        resampled.add(image, counts)
    return whole, resampled


def differing_settings(experiments: Experiments, compared: list[str]) -> list[dict[str, Any]]:
    """Return the settings and facts that differ between the stages behind the compared scores.

    A row holds the "stages" (their folders) that it concerns, the "setting" (a dotted key) and its
    "values" by experiment. A stage that only some experiments ran has the setting "used" alone.
    """
    facts = {str(folder): facts_behind(folder, compared) for folder in experiments}
    rows: dict[str, dict[str, Any]] = {}
    for stage, setting in dict.fromkeys(place for found in facts.values() for place in found):
        used_by_all = all((stage, "used") in found for found in facts.values())
        values = {name: found.get((stage, setting)) for name, found in facts.items()}
        if len(set(map(json.dumps, values.values()))) > 1 and (used_by_all or setting == "used"):
            row = {"stages": [], "setting": setting, "values": values}
            rows.setdefault(json.dumps([setting, values]), row)["stages"].append(stage)
    return list(rows.values())


def facts_behind(folder: Path, stages: list[str]) -> dict[tuple[str, str], Any]:
    """Return the facts of all that the scores of an experiment were made from.

    The keys are the folder of a stage below that of the experiment, and the name of a fact.
    """
    artifacts = trace(*(folder / f"scores/{stage}.json" for stage in stages))
    values: dict[tuple[str, str], dict[str, Any]] = {}
    for one in artifacts:
        found = flatten({"used": True, **{name: one.facts[name] for name in FACTS}})
        found["code_sha256"] = found["code_sha256"][:8]
        stage = os.path.relpath(one.path.parent, folder)
        for name, value in found.items():
            values.setdefault((stage, name), {})[json.dumps(value)] = value
    # Shards may differ, if some of them were made again.
    facts: dict[tuple[str, str], Any] = {
        place: next(iter(found.values())) if len(found) == 1 else " | ".join(sorted(found))
        for place, found in values.items()
    }
    for one, index in indexes_of(artifacts):
        if one.path.stem == index.split:  # not a shard of it
            images = f"{len(index.images)} (digest {content_digest(one.path)[:8]})"
            facts["data", f"{index.split} images"] = images
    return facts
