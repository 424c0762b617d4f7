"""The runs of an ablation, and what is refused of its description."""

import pytest
import yaml

from helpers.project import ROOT
from i2crc.config.ablation import ablation_runs, outer_results
from i2crc.config.load import load_config
from i2crc.runtime.errors import InputError


def runs(variants: dict, seeds=(0, 1), **settings):
    """The runs of variants of some settings."""
    values = {**settings, "ablation": {"seeds": list(seeds), "variants": variants}}
    return ablation_runs(values, load_config(values, "my.yaml"), "my.yaml")


def refused(variants: dict, **others) -> str:
    with pytest.raises(InputError) as error:
        runs(variants, **others)
    return str(error.value)


def test_every_variant_runs_with_every_seed_and_changes_only_what_it_names():
    found = runs({"smooth": {"crf": {"iterations": 5}}}, crf={"labels": "all"}, experiment="mine")
    names = ["base-0", "base-1", "smooth-0", "smooth-1"]
    assert [run.folder for run in found] == [f"results/mine/ablation/{name}" for name in names]
    assert [run.config.seed for run in found] == [0, 1, 0, 1]
    base, smooth = found[0].config, found[2].config
    assert (base.crf.iterations, smooth.crf.iterations, smooth.crf.labels) == (10, 5, "all")
    same = {"crf": base.crf, "experiment": base.experiment}
    assert smooth.model_copy(update=same) == base
    for run in found:  # what Snakemake hands to the rules of the run
        assert load_config(run.values, "the run") == run.config


def test_a_run_knows_the_folder_of_all_results_also_from_its_saved_settings():
    found = runs({"smooth": {"crf": {"iterations": 5}}}, results="data/out", experiment="mine")
    for run in found:
        saved = load_config(run.config.model_dump(), "the run")
        assert outer_results(run.config) == outer_results(saved) == "data/out"
    for other in ({}, {"results": "ablation"}, {"results": "data/out", "experiment": "mine-0"}):
        assert outer_results(load_config(other, "my.yaml")) is None


def test_a_variant_may_change_the_preset():
    (base, paper) = runs({"paper": {"preset": "paper"}}, seeds=[0])
    assert (base.config.crf.image, paper.config.crf.image) == ("real", "legacy")


def test_a_variant_that_changes_the_preset_of_spelled_out_settings_is_refused():
    """As a run saves them: each of them stands above the preset."""
    saved = load_config({}, "my.yaml").model_dump()
    assert "the settings are those of base" in refused({"paper": {"preset": "paper"}}, **saved)


def test_settings_without_variants_have_no_runs():
    assert runs({}) == []


@pytest.mark.parametrize(
    ("variants", "words"),
    [
        ({"x": {"crf": {"labls": "all"}}}, "my.yaml: ablation.variants.x: unknown key `crf.labls`; "
         "the nearest valid key is `crf.labels`"),
        ({"x": {"cfr": {}}}, "unknown key `cfr`; the nearest valid key is `crf`"),
        ({"x": {"crf": {"iterations": 0}}}, "my.yaml: ablation.variants.x: `crf.iterations` is 0"),
        ({"x": {}}, "my.yaml: ablation.variants.x is {}: with it the settings are those of base"),
        ({"x": {"crf": {"iterations": 10}}}, "those of base; change another setting"),
        ({"x": {"crf": {"iterations": 5}}, "y": {"crf": {"iterations": 5}}}, "those of x; change"),
        ({"base": {"crf": {"iterations": 5}}}, "`base` is the name of the settings without"),
        ({"x": {"seed": 3}}, "the variant x changes `seed`, which the ablation sets"),
        ({"a b": {"crf": {"iterations": 5}}}, "expected letters, digits"),
        ({"../x": {"crf": {"iterations": 5}}}, "expected letters, digits"),
        ({"x": 3}, "`ablation.variants.x` is 3"),
    ],
)  # fmt: skip
def test_a_bad_variant_is_refused_with_its_name_and_a_remedy(variants, words):
    assert words in refused(variants)


@pytest.mark.parametrize("seeds", [[], [0, 0], [-1], ["x"]])
def test_bad_seeds_are_refused(seeds):
    assert "ablation.seeds" in refused({"x": {"crf": {"iterations": 5}}}, seeds=seeds)


@pytest.mark.parametrize("base", ["config.yaml", "voc12-small.yaml"])
def test_the_variants_that_are_delivered_fit_the_settings_that_are_delivered(base):
    values = yaml.safe_load((ROOT / "config" / base).read_text())
    values |= yaml.safe_load((ROOT / "config/ablation.yaml").read_text())
    found = ablation_runs(values, load_config(values, base), base)
    assert len(found) == 3 * (1 + len(values["ablation"]["variants"]))
