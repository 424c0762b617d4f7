"""Settings: defaults, presets, partial overrides and messages that help."""

import math

import pytest
import yaml
from pydantic import ValidationError

from helpers.settings import config_problem, read_config
from i2crc.config.load import PRESETS, dump_config, load_config, read_yaml
from i2crc.config.schema import Config
from i2crc.runtime.errors import InputError


def test_defaults_are_valid():
    assert load_config({}, "my.yaml") == Config()


@pytest.mark.parametrize(
    ("values", "key", "nearest"),
    [
        ({"clasifier": {}}, "clasifier", "classifier"),
        ({"classifier": {"epoch": 3}}, "classifier.epoch", "classifier.epochs"),
        (
            {"segmentation": {"optimizer": {"learning_rte": 1}}},
            "segmentation.optimizer.learning_rte",
            "segmentation.optimizer.learning_rate",
        ),
    ],
)
def test_unknown_key_is_named_with_the_file_and_the_nearest_key(values, key, nearest):
    message = config_problem(values)
    assert message.startswith("my.yaml: ")
    assert f"`{key}`" in message
    assert f"`{nearest}`" in message


@pytest.mark.parametrize(
    ("values", "key", "value"),
    [
        ({"shards": "many"}, "shards", "'many'"),
        ({"shards": 0}, "shards", "0"),
        ({"classifier": {"flip": 7}}, "classifier.flip", "7"),
        ({"crf": {"image": "fake"}}, "crf.image", "'fake'"),
        ({"classifier": {"color_jitter": [0.3]}}, "classifier.color_jitter", "[0.3]"),
        ({"classifier": {"color_jitter": [0, 0, 0, 0.7]}}, "classifier.color_jitter", "[0, 0, 0"),
        ({"segmentation": 5}, "segmentation", "5"),
        ({"preset": "papper"}, "preset", "'papper'"),
        ({"saliency": {"sha256": "abc"}}, "saliency.sha256", "'abc'"),
    ],
)
def test_bad_value_is_named_with_its_key(values, key, value):
    message = config_problem(values)
    assert message.startswith("my.yaml: ")
    assert f"`{key}` is {value}" in message


def test_a_number_is_no_name_of_an_experiment():
    """Quotes do not help in --config: Snakemake reads experiment="2" as a number, too."""
    assert "after --config, begin it with a letter, as in run2" in config_problem({"experiment": 2})


@pytest.mark.parametrize(
    ("saliency", "words"),
    [
        ({"source": "https://h/maps.zip?k=s3cret"}, "`saliency.source` is 'https://h/maps.zip': exp"
         "ected model, archive or folder; an address or a folder of saliency maps is given as "
         "saliency.location"),
        ({"source": "model", "location": "maps.zip"}, "saliency.location names some; take one of"),
        ({"source": "archive"}, "saliency.source: archive needs its address in saliency.location"),
        ({"model": {"divide_by": 256}}, "`saliency.model.divide_by` is 256: "),
        ({"model": {"mean": [0.5]}}, "`saliency.model.mean` is [0.5]: "),
    ],
)  # fmt: skip
def test_where_saliency_maps_come_from_is_said_once(saliency, words):
    message = config_problem({"saliency": saliency, "dataset": {"root": "photos"}})
    assert words in message
    assert "s3cret" not in message


def test_every_problem_has_its_line():
    message = config_problem({"shards": 0, "sed": 1, "classifier": {"epochs": "x"}})
    assert len(message.splitlines()) == 3
    assert all(line.startswith("my.yaml: ") for line in message.splitlines())


@pytest.mark.parametrize(
    "values",
    [
        {"dataset": {"labels_from": "masks", "masks": ""}},
        {"segmentation": {"supervision": "full"}, "dataset": {"masks": ""}},
    ],
)
def test_masks_must_exist_where_they_are_used(values):
    assert "dataset.masks" in config_problem(values)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"classifier": {"output_stride": 16}}, "classifier.output_stride: vgg16 has 8"),
        ({"segmentation": {"output_stride": 16}}, "segmentation.output_stride: resnet101 has 8"),
        ({"segmentation": {"scales": [0.5, 1]}}, "segmentation.scales is [0.5, 1.0]: the first"),
        ({"dataset": {"labels_from": "masks", "binary_masks": True}}, "labels_from must be list"),
        (
            {"dataset": {"classes": [f"c{n}" for n in range(300)]}},
            "has 300 names; give at most 254",
        ),
        (
            {"dataset": {"mask_pattern": "mask.png"}},
            "expected a file name with {id} in it, such as",
        ),
        (
            {"preset": "paper", "dataset": {"dev_list": "dev.txt"}},
            "dataset.dev_list is never scored, because segmentation.validations is 0",
        ),
        (
            {"dataset": {"dev_list": "dev.txt"}, "segmentation": {"hold_out": 0.05}},
            "segmentation.hold_out leaves photographs out for nothing where dataset.dev_list",
        ),
        (
            {"classifier": {"average_last": 0.5}},
            "classifier.average_last: averaged weights have no statistics of their own; set",
        ),
    ],
)
def test_settings_that_contradict_each_other(values, words):
    assert words in config_problem(values)


@pytest.mark.parametrize("preset", PRESETS)
def test_partial_override_keeps_the_other_values_of_the_section(preset):
    values = {"preset": preset, "segmentation": {"optimizer": {"learning_rate": 1e-4}}}
    plain, changed = load_config({"preset": preset}, "a"), load_config(values, "b")
    expected = plain.model_dump()
    expected["segmentation"]["optimizer"]["learning_rate"] = 1e-4
    assert changed.model_dump() == expected
    assert changed.segmentation.optimizer.head_factor == 1


def test_paper_preset_is_the_published_computation():
    paper = load_config({"preset": "paper"}, "my.yaml")
    assert paper.segmentation.preprocessing == "caffe_bgr"
    crf = paper.crf
    assert (crf.engine, crf.image, crf.labels) == ("pydensecrf", "legacy", "all")
    assert paper.dataset.max_side == 0
    assert paper.classifier.precision == paper.segmentation.precision == "fp32"


def test_values_of_the_file_win_over_the_preset():
    values = {"preset": "paper", "crf": {"image": "real"}}
    assert load_config(values, "my.yaml").crf.image == "real"


def test_defaults_are_those_of_the_paper():
    config = Config()
    rates = config.classifier.optimizer
    assert (rates.learning_rate, rates.head_factor, rates.bias_factor) == (1e-3, 10, 2)
    assert (rates.momentum, rates.nesterov, rates.weight_decay) == (0.9, True, 5e-4)
    assert (config.classifier.batch_size, config.classifier.epochs) == (5, 30)
    segmentation = config.segmentation
    assert (segmentation.batch_size, segmentation.accumulate) == (5, 2)
    assert (segmentation.optimizer.learning_rate, segmentation.optimizer.nesterov) == (2.5e-4, 0)
    assert (segmentation.optimizer.head_factor, segmentation.optimizer.bias_factor) == (1, 1)
    assert (segmentation.crop_size, segmentation.iterations) == (321, 20_000)


def test_settings_are_frozen():
    config = Config()
    for section, key in ((config, "seed"), (config.crf, "iterations")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(section, key, 3)


def test_config_survives_json():
    config = load_config({"preset": "paper", "seed": 3}, "my.yaml")
    assert Config.model_validate_json(config.model_dump_json()) == config


def test_saved_settings_are_the_same_and_have_no_secret():
    values = {
        "preset": "paper",
        "dataset": {"classes": ["no", "7", "été", "1:30"], "name": "# ?x: {y}"},
        "classifier": {"optimizer": {"learning_rate": 1e-7}, "max_iterations": None},
        "saliency": {"location": "https://example.org/maps.zip?token=s3cret"},
    }
    config = load_config(values, "my.yaml")
    text = dump_config(config)
    assert "s3cret" not in text
    assert load_config(yaml.load(text, yaml.FullLoader), "config.yaml") == config


def test_read_config(tmp_path):
    file = tmp_path / "my.yaml"
    file.write_text("seed: 3\nclassifier: {optimizer: {learning_rate: 1e-4}}\n")
    config = read_config(file)
    assert (config.seed, config.classifier.optimizer.learning_rate) == (3, 1e-4)


@pytest.mark.parametrize("content", [b"a: [", b"seed: \xff\xfe"])
def test_file_that_is_not_yaml(tmp_path, content):
    file = tmp_path / "my.yaml"
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"my\.yaml: not readable as YAML"):
        read_yaml(file)


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"none\.yaml"):
        read_yaml(tmp_path / "none.yaml")


def test_numbers_given_as_text_are_taken_as_numbers():
    """Snakemake's --config hands every number of a section over as text."""
    text = {"backbone": "resnet18", "output_stride": "16", "crop_size": "64", "flip": "false"}
    segmentation = load_config({"segmentation": text}, "--config").segmentation
    assert (segmentation.output_stride, segmentation.crop_size) == (16, 64)
    assert segmentation.flip is False


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("section", [{"crf": "bilateral_rgb"}, {"classifier": "epochs"}])
def test_a_number_that_is_not_finite_is_refused_in_plain_words(section, value):
    ((name, key),) = section.items()
    message = config_problem({name: {key: value}})
    assert message == f"my.yaml: `{name}.{key}` is {value}: expected a finite number"


@pytest.mark.parametrize("key", ["gaussian_xy", "bilateral_xy", "bilateral_rgb"])
def test_widths_at_which_the_crf_would_crash_are_refused(key):
    message = config_problem({"crf": {key: 1e-9}})
    assert (
        message == f"my.yaml: `crf.{key}` is 1e-09: Input should be greater than or equal to 0.001"
    )
    assert load_config({"crf": {key: 1e-3}}, "my.yaml")
