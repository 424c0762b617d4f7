"""The arithmetic of estimates, on the times that two runs of docs/RESULTS.md were made of."""

from dataclasses import replace

import pytest

from helpers.project import ROOT
from i2crc.config.load import load_config, read_yaml
from i2crc.config.schema import Config
from i2crc.evaluation.amount import Amount
from i2crc.evaluation.estimate import Steps, disk_bytes, stage_seconds

VOC = Amount(311, 161, 20, 1.67, 0.183, 0.183, 0.02, masks=True, saliency=False)
DEMO = Amount(240, 80, 5, 1.3, 0.0164, 0.0164, 0.005, masks=True, saliency=False)
# Two cores of an EPYC.
VOC_STEPS = Steps(4, 1.4, 0.7, 0.3, 0.12, (5, 5), 0.4, (3_400_000, 4_340_000))
DEMO_STEPS = Steps(4, 0.5, 0.32, 0.025, 0.013, (2.3, 2.3), 0.4, (700_000, 715_000))
MEMORY = 20 << 30


def config_of(name: str) -> Config:
    return load_config(read_yaml(ROOT / "config" / name), name)


def seconds(name: str, amount: Amount, steps: Steps, cores: int = 2, **changed) -> dict:
    config = config_of(name).model_copy(update=changed)
    return stage_seconds(config, amount, steps, cores, 0, MEMORY)


@pytest.mark.parametrize(
    ("name", "amount", "steps", "minutes", "megabytes"),
    [
        ("voc12-small.yaml", VOC, VOC_STEPS, 38.5, 138),
        ("config.yaml", DEMO, DEMO_STEPS, 5.5, 45),
    ],
)
def test_both_measured_runs_are_estimated_within_a_factor_of_two(
    name, amount, steps, minutes, megabytes
):
    assert minutes / 1.5 < sum(seconds(name, amount, steps).values()) / 60 < minutes * 1.5
    assert megabytes / 1.5 < disk_bytes(config_of(name), amount, steps) / 1e6 < megabytes * 1.5


def test_twice_the_iterations_take_twice_the_time_of_a_training():
    once = seconds("voc12-small.yaml", VOC, replace(VOC_STEPS, start=0))
    segmentation = config_of("voc12-small.yaml").segmentation
    twice = seconds(
        "voc12-small.yaml",
        VOC,
        replace(VOC_STEPS, start=0),
        segmentation=segmentation.model_copy(update={"iterations": 2000}),
    )
    name = "train the final segmentation network"
    assert twice[name] == pytest.approx(2 * once[name], rel=0.01)
    assert twice["train the classifier"] == once["train the classifier"]


def test_twice_the_photographs_take_twice_the_time_of_the_stages_of_images():
    once = seconds("voc12-small.yaml", VOC, replace(VOC_STEPS, start=0))
    twice = seconds("voc12-small.yaml", replace(VOC, train=622), replace(VOC_STEPS, start=0))
    for name in ("attention maps", "their CRF"):
        assert 1.8 < twice[name] / once[name] <= 2


def test_shards_work_side_by_side_where_there_are_cores():
    few, many = (seconds("voc12-small.yaml", VOC, VOC_STEPS, cores, shards=4) for cores in (4, 16))
    assert 3.5 < few["their CRF"] / many["their CRF"] < 4.5


def test_what_is_not_done_takes_no_time():
    without_val = seconds("voc12-small.yaml", replace(VOC, val=0), VOC_STEPS)
    assert not {"predictions of val", "CRF of val"} & {*without_val}
    assert "saliency maps" not in without_val
    name = "train the final segmentation network"
    assert name not in seconds("voc12-small.yaml", VOC, VOC_STEPS, rounds=1)
    segmentation = config_of("voc12-small.yaml").segmentation
    full = segmentation.model_copy(update={"supervision": "full"})
    changed = {"rounds": 1, "segmentation": full}
    assert name in seconds("voc12-small.yaml", VOC, VOC_STEPS, **changed)
    computed = seconds("voc12-small.yaml", replace(VOC, saliency=True), VOC_STEPS)
    assert computed["saliency maps"] > 311 * 0.4 / 2


def test_large_photographs_take_disk_for_their_working_copies_and_labels():
    large = replace(VOC, megapixels=0.2, own_megapixels=12)
    more = disk_bytes(config_of("voc12-small.yaml"), large, VOC_STEPS)
    assert more > disk_bytes(config_of("voc12-small.yaml"), VOC, VOC_STEPS) + 472 * 100_000
