"""The scores of an ablation: each variant over its seeds, and its difference to the base."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from i2crc.artifacts.lineage import trace
from i2crc.artifacts.stages import SCORED, STAGES
from i2crc.config.ablation import run_name
from i2crc.config.schema import BASE, Ablation
from i2crc.evaluation.comparison import MIOUS, described_difference, paired_changes, read_score
from i2crc.runtime.errors import InputError

MEASURES = ("miou_255_as_background", "coverage", "miou", "miou_255_as_wrong", "boundary_iou")
# Stage -> variant, the base first -> the score files of its runs, in the order of the seeds.
Arranged = dict[str, dict[str, list[Path]]]


def arrange(scores: Sequence[Path], settings: Ablation) -> Arranged:
    """Return the score files of an ablation, `VARIANT-SEED/scores/STAGE.json`, by stage."""
    found = {(path.parents[1].name, path.stem): path for path in scores}
    return {
        stage: {
            variant: [found[run_name(variant, seed), stage] for seed in settings.seeds]
            for variant in (BASE, *settings.variants)
            if (run_name(variant, settings.seeds[0]), stage) in found
        }
        for stage in SCORED
    }


def minutes_behind(score: Path) -> float:
    """Return the minutes of all jobs that a score was made by, from the provenance.

    A stage that a run took over from another one counts with the time that it took there.
    """
    seconds: dict[tuple[str, ...], float] = {}
    for artifact in trace(score):
        facts = artifact.facts
        # A job writes several artifacts, and shards may begin in the same second.
        shard = artifact.path.stem if STAGES[artifact.script].sharded else ""
        job = artifact.script, facts["start"], shard
        seconds[job] = max(seconds.get(job, 0.0), facts["seconds"])
    return sum(seconds.values()) / 60


def ablation_rows(
    arranged: Arranged, minutes: dict[Path, float], replicates: int
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return a row for each stage and each variant that has a score of it, and notes.

    A row holds "stage", "split", "variant", "images", and of each of `MEASURES` and "minutes" the
    list over the seeds. All rows but those of the base also hold what `seeds_difference` returns.
    Raise InputError if no stage has a score, or classes differ.
    """
    rows, notes = [], []
    for stage, variants in arranged.items():
        contents = {name: list(map(read_score, files)) for name, files in variants.items()}
        scored = [name for name, found in contents.items() if found[0]["miou"] is not None]
        for variant in scored:
            found = contents[variant]
            row = {"stage": stage, "variant": variant, "split": found[0]["split"]}
            row |= {"images": found[0]["images"]}
            row |= {measure: [one[measure] for one in found] for measure in MEASURES}
            row["minutes"] = [minutes[file] for file in variants[variant]]
            rows.append(row)
            if variant == BASE or BASE not in scored:
                continue
            own, expected = (", ".join(contents[name][0]["iou"]) for name in (variant, BASE))
            if own != expected:
                raise InputError(
                    f"{variants[variant][0]}: the classes are {own}, those of the base are "
                    f"{expected}; a variant must keep the classes"
                )
            pairs = [
                [file.with_suffix(".images.csv") for file in pair]
                for pair in zip(variants[BASE], variants[variant], strict=True)
            ]
            difference, said = seeds_difference(pairs, len(found[0]["iou"]), replicates)
            row |= difference
            notes += [f"{stage}, {variant}: {note}" for note in said]
    if not rows:
        raise InputError(
            "no stage has a score, because the data set has no masks (dataset.masks); an ablation "
            "needs some photographs with masks"
        )
    return rows, notes


def seeds_difference(
    pairs: list[list[Path]], labels: int, replicates: int
) -> tuple[dict[str, Any], list[str]]:
    """Return how a variant differs from the base in the mean over the seeds, and notes.

    pairs: for each seed, the CSV file of scores per image of the base and that of the variant. The
    difference holds `described_difference` of each kind of `MIOUS`, and "seed_differencesKIND"
    (None: no common pixels; the mean is of the other seeds). A replicate draws images, the same for
    all seeds, and seeds, so the interval covers both.
    """
    import numpy as np  # only here: a table that is already made needs none

    found = [paired_changes(pair, labels, replicates) for pair in pairs]
    notes = list(dict.fromkeys(note for *_, said in found for note in said))
    lacking = sum(common == 0 for _, common, _ in found)
    if 0 < lacking < len(pairs):
        notes.append(
            f"the mean difference leaves out {lacking} of {len(pairs)} seeds, which have no common "
            "images."
        )
    difference: dict[str, Any] = {}
    for kind in MIOUS:
        of_seeds = [changes[kind] for changes, *_ in found]
        known = [one for one in of_seeds if not np.isnan(one[0])] or of_seeds
        change = float(np.mean([one for one, _ in known]))
        drawn = np.stack([one for _, one in known])  # (seeds, R)
        picked = np.random.default_rng(0).integers(len(known), size=(len(known), replicates))
        means = np.take_along_axis(drawn, picked, axis=0).mean(axis=0)
        difference |= described_difference(kind, change, means)
        difference[f"seed_differences{kind}"] = [
            None if np.isnan(one) else float(one) for one, _ in of_seeds
        ]
    return difference, notes
