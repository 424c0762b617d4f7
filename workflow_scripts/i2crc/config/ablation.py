"""The runs of an ablation: its variants with its seeds, each an experiment of its own."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from i2crc.config.load import load_config, merge
from i2crc.config.schema import BASE, Config
from i2crc.runtime.errors import InputError

FOLDER = "ablation"


@dataclass(frozen=True)
class AblationRun:
    """A variant with a seed; `values` are its settings as `load_config` takes them."""

    variant: str
    values: dict[str, Any]
    config: Config

    @property
    def folder(self) -> str:
        """The folder of its results."""
        return f"{self.config.results}/{self.config.experiment}"


def ablation_folder(config: Config) -> str:
    """Return the folder of all runs of the ablation of an experiment."""
    return f"{config.results}/{config.experiment}/{FOLDER}"


def outer_results(config: Config) -> str | None:
    """Return the results folder that holds the ablation of a run; None for any other experiment."""
    results = Path(config.results)
    is_run = results.name == FOLDER and config.experiment.endswith(run_name("", config.seed))
    return str(results.parent.parent) if is_run else None


def run_name(variant: str, seed: int) -> str:
    """Return the name of a run, which is that of its experiment."""
    return f"{variant}-{seed}"


def ablation_runs(values: dict[str, Any], config: Config, source: str) -> list[AblationRun]:
    """Return the runs of the ablation that `config` describes, the base first; none without one.

    `values` and `source` are those that `load_config` made `config` of. Raise InputError for a
    variant with invalid settings, or with those of another one.
    """
    if not config.ablation.variants:
        return []
    results = {"results": ablation_folder(config)}
    common = {key: value for key, value in values.items() if key != "ablation"} | results
    runs: list[AblationRun] = []
    same: dict[str, str] = {}  # the settings of a variant as JSON -> its name
    for variant, changes in {BASE: {}, **config.ablation.variants}.items():
        changed = merge(common, changes)
        place = f"{source}: ablation.variants.{variant}"
        settings = load_config(changed, place)
        # Settings that are spelled out, as in saved ones, override those of a preset.
        known = same.setdefault(settings.model_dump_json(exclude={"preset"}), variant)
        if known != variant:
            raise InputError(
                f"{place} is {changes}: with it the settings are those of {known}; change another "
                "setting, or take the variant out"
            )
        for seed in config.ablation.seeds:
            own = {"seed": seed, "experiment": run_name(variant, seed)}
            run = settings.model_copy(update=own)
            runs.append(AblationRun(variant, changed | own, run))
    return runs
