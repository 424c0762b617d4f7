"""The model file: what it holds, and that a file from a stranger is checked before it is used."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from helpers.weights import CLASSES, same, write_model_file
from i2crc.inference.model_file import read_model, write_model
from i2crc.models.weight_files import read_metadata
from i2crc.runtime.errors import InputError

CPU = torch.device("cpu")


def test_a_network_is_read_with_what_its_use_needs(tmp_path):
    model, card = read_model(write_model_file(tmp_path / "model.safetensors"), CPU)
    assert not model.training
    assert (card.classes, card.max_side) == (CLASSES, 64)
    assert card.colors == [[0, 0, 0], [128, 0, 0], [0, 128, 0]]
    assert card.scores == {"val_prediction": 0.5}


def test_the_run_packs_its_final_network(finished):
    file = finished.results / "model.safetensors"
    weights = finished.results / "segmentation/final/weights.safetensors"
    assert same(load_file(file), load_file(weights))
    card, trained = read_metadata(file), read_metadata(weights)
    assert {key: card[key] for key in trained} == trained
    stages = ("val_prediction", "val_crf")
    found = [json.loads((finished.results / f"scores/{s}.json").read_text()) for s in stages]
    assert card["scores"] == {score["stage"]: score["miou"] for score in found}
    assert card["supervision"] == {"training_images": 12, "trusted_masks": 0}
    assert card["max_side"] == 1024
    assert card["crf"]["bilateral_xy"] == 20  # of config/config.yaml
    assert file.stat().st_mode & 0o044 == 0o044  # others may read it


def test_an_older_model_keeps_its_engine(tmp_path):
    file = write_model_file(tmp_path / "model.safetensors", crf={"iterations": 5})
    _, card = read_model(file, CPU)
    assert (card.crf.iterations, card.crf.engine) == (5, "pydensecrf")


def test_a_card_that_could_not_be_read_is_not_written(tmp_path):
    weights = write_model_file(tmp_path / "w.safetensors", model_file=None)
    with pytest.raises(ValueError, match="max_side"):
        write_model(tmp_path / "model.safetensors", weights, {"max_side": -1})
    assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_file": None}, "weights alone, not a model file"),
        ({"model_file": 2}, r"not a model file of this version \(model_file: "),
        ({"classes": []}, r"\(classes: "),
        ({"classes": ["cat"] * 2}, "has cat twice"),
        ({"classes": [f"c{n}" for n in range(300)]}, "has 300 names"),
        ({"classes": "cat"}, r"\(classes: "),
        ({"classes": ["cat", "\udc80"]}, r"has '\\udc80', which is no printable text"),
        ({"classes": ["cat", "\x1b[2J"]}, r"has '\\x1b\[2J', which is no printable text"),
        ({"colors": [[0, 0, 0]]}, "1 colors for 2 classes"),
        ({"max_side": -1}, r"\(max_side: "),
        ({"max_side": "64"}, r"\(max_side: "),
        ({"max_side": 10**30}, r"\(max_side: "),
        ({"crf": {"iterations": 0}}, r"\(crf.iterations: "),
        ({"colors": [[0, 0, 0], [1, 2, 3], [4, 5, 256]]}, r"\(colors.2.2: "),
        ({"settings": {"backbone": "resnet18", "unknown": 1}}, r"\(settings.unknown: "),
        ({"settings": {"backbone": "none"}}, "'none': not a timm model"),
        ({"settings": {"backbone": "hf-hub:some/model"}}, "not a timm model"),
        ({"settings": {"backbone": "resnet18", "aspp_rates": [0]}}, r"\(settings.aspp_rates.0: "),
        ({"settings": {"backbone": "resnet18", "scales": [1.0, 1e9]}}, r"\(settings.scales.1: "),
        ({"settings": {"backbone": "resnet18", "scales": [1.0] * 17}}, r"\(settings.scales: "),
        ({"settings": {"backbone": "resnet18", "aspp_rates": [1] * 17}}, r"settings.aspp_rates: "),
        (
            {"preprocessing": {"order": "rgb", "scale": 1.0, "mean": [0] * 3, "std": [0] * 3}},
            "its network does not work .its output is not finite",
        ),
        ({"preprocessing": {"order": "cmyk", "scale": 1.0}}, r"\(preprocessing.order: "),
        ({"scores": {"val_prediction": float("nan")}}, r"\(scores.val_prediction: "),
        ({"supervision": None}, r"\(supervision: "),
        ({"classes": ["cat", "dog", "cow"], "colors": [[0, 0, 0]] * 4}, "does not fit the config"),
    ],
)
def test_a_file_that_is_wrong_is_refused(tmp_path, changes, message):
    file = write_model_file(tmp_path / "model.safetensors", **changes)
    with pytest.raises(InputError, match=message):
        read_model(file, CPU)


def test_weights_that_are_not_finite_are_refused(tmp_path):
    file = write_model_file(tmp_path / "model.safetensors")
    state, card = load_file(file), read_metadata(file)
    state["base.classifier.conv2d_list.0.bias"].fill_(float("nan"))
    save_file(state, file, {"i2crc": json.dumps(card)})
    with pytest.raises(InputError, match="holds NaN or infinity"):
        read_model(file, CPU)


@pytest.mark.parametrize("name", ["model.pth", "model.safetensors"])
def test_any_other_file_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"no model")
    with pytest.raises(InputError, match=r"model\.\w+: not a (model|safetensors) file"):
        read_model(tmp_path / name, CPU)
