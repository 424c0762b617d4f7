"""Settings for somebody's photographs, and the file that they are written to."""

import pytest
import yaml

from helpers.project import ROOT
from i2crc.config.choices import PUBLISHED, Choice, Counts, Machine, choose, nested, write_yaml
from i2crc.config.load import load_run_config, read_yaml
from i2crc.config.schema import Config

CPU = Machine(cores=2, memory=16 << 30)
GPU = Machine(cores=16, memory=100 << 30, gpus=1, gpu_memory=80 << 30)


def chosen(counts: Counts, machine: Machine = CPU, can_draw: bool = False) -> dict:
    return {choice.key: choice.value for choice in choose(counts, machine, can_draw)}


def photographs(train: int, classes: int = 4, side: int = 500) -> Counts:
    return Counts(train, [train // classes] * classes, [side] * train)


def test_as_many_photographs_as_were_measured_get_the_settings_that_were_measured():
    found = nested(choose(photographs(311, 20), CPU, False))
    shipped = read_yaml(ROOT / "config/voc12-small.yaml")
    assert found["classifier"].pop("input_size") == 256  # the default
    for section in ("classifier", "cam", "segmentation", "prediction", "shards"):
        assert found[section] == shipped[section]


def test_photographs_as_small_as_those_of_the_demo_get_its_settings():
    found = nested(choose(photographs(240, 5, side=128), CPU, False))
    demo = read_yaml(ROOT / "config/config.yaml")
    for section, keys in {
        "classifier": ("input_size", "output_stride", "backbone_stage", "batch_size", "epochs"),
        "segmentation": ("crop_size", "output_stride", "backbone_stage", "aspp_rates"),
        "crf": ("bilateral_xy", "bilateral_rgb"),
    }.items():
        assert {key: found[section][key] for key in keys} == {
            key: demo[section][key] for key in keys
        }


def test_few_photographs_are_all_learnt_from_in_enough_steps():
    found = chosen(photographs(16, 2, side=4000), can_draw=True)
    assert found["dataset.val_share"] == 0
    assert (found["shards"], found["classifier.batch_size"]) == (1, 4)
    assert found["classifier.epochs"] * 16 // 4 >= 120
    assert found["dataset.max_side"] == 512


@pytest.mark.parametrize(
    ("train", "machine", "shards"),
    [(311, CPU, 1), (311, GPU, 4), (200, GPU, 2), (10_582, CPU, 8), (1_000_000, GPU, 64)],
)
def test_shards_are_as_many_as_the_cores_can_use_and_the_photographs_are_worth(
    train, machine, shards
):
    assert chosen(photographs(train, 20), machine)["shards"] == shards


def test_few_classes_are_learnt_in_smaller_steps():
    rates = {n: chosen(photographs(400, n))["classifier.optimizer"] for n in (1, 2, 20, 40)}
    found = {n: optimizer["learning_rate"] for n, optimizer in rates.items()}
    assert found == {1: 0.0005, 2: 0.001, 20: 0.01, 40: 0.01}


def test_a_fifth_is_drawn_for_val_if_every_class_can_spare_it():
    assert chosen(photographs(100, 4), can_draw=True)["dataset.val_share"] == 0.2
    assert "dataset.val_share" not in chosen(photographs(100, 4), can_draw=False)


@pytest.mark.parametrize("train", [1, 3, 7, 16, 100, 311, 5000, 200_000])
@pytest.mark.parametrize("machine", [CPU, GPU, Machine(1, 1 << 30)], ids=["cpu", "gpu", "small"])
def test_any_number_of_photographs_gives_valid_settings(train, machine):
    values = nested(choose(photographs(train, 1, side=3000), machine, True))
    config = load_run_config(values, [], {})
    assert config.classifier.batch_size <= max(1, train)
    assert config.runtime.inference_threads <= machine.cores
    steps = config.classifier.epochs * max(1, train // config.classifier.batch_size)
    assert steps >= 100 or train < 5


def test_a_large_gpu_gets_the_published_networks_if_their_weights_can_be_had():
    found = chosen(photographs(1000), GPU)
    assert {key: found[key] for key in PUBLISHED} == PUBLISHED
    assert found["dataset.max_side"] == 1024
    for small in (
        Machine(16, 100 << 30, 1, 4 << 30),
        Machine(16, 100 << 30, 1, 80 << 30, weights=False),
    ):
        assert chosen(photographs(1000), small)["segmentation.backbone"] == "efficientnet_lite0"


def test_the_yaml_says_the_same_and_gives_a_reason_for_each_setting(tmp_path):
    names = ["Vögel", "no", "dogs & co: #1", "猫", 'it\'s "new"', "12"]
    choices = [
        Choice("experiment", "mine", "a name"),
        Choice("dataset.root", "my photos/{x}", "a place"),
        Choice("dataset.classes", names, "their names"),
        *choose(photographs(311, 6), CPU, True),
    ]
    file = tmp_path / "mine.yaml"
    file.write_text(write_yaml(choices, ["Written for a test."]))
    assert read_yaml(file) == nested(choices)
    config = load_run_config(yaml.safe_load(file.read_text()), [file], {})
    assert isinstance(config, Config)
    assert config.dataset.classes == names
    settings = [line for line in file.read_text().splitlines() if line.lstrip("# ").strip()]
    for line in settings[1:]:
        assert "  # " in line or line.endswith(":"), line
