"""The model card: front matter that YAML reads, and the numbers and limits that the run knows."""

import json

import pytest
import torch
import yaml

from helpers.weights import write_model_file
from i2crc.inference.model_file import ModelCard, read_model
from i2crc.models.weight_files import file_metadata
from i2crc.report.model_card import escape, model_card

CLASSES = ['a "cat": yes', "- dog's # 1", "cow | <b>*ox*</b>"]
FACTS = {
    "experiment": "mine",
    "dataset": "",
    "format": "folders",
    "photographs": {"train": 40, "val": 1},
    "of_class": dict(zip(CLASSES, (20, 15, 5), strict=True)),
    "corrected": 2,
    "scores": {
        "val_crf": {
            "split": "val",
            "images": 1,
            "miou": 0.41234,
            "miou_interval": [0.3, 0.5],
            "iou": {"background": 0.9, CLASSES[0]: 0.0, CLASSES[1]: 0.25, CLASSES[2]: None},
        }
    },
    "backbone": {"source": "timm resnet18.a1_in1k", "licence": "apache-2.0"},
    "saliency": {"source": "U2-Net-p", "licence": "Apache-2.0"},
    "warnings": ["train has fewer than 10 photographs of cow: too few to learn from"],
    "fingerprint": "ab12",
}


def card(tmp_path, **changes) -> ModelCard:
    """Return the card of a model file with these classes and facts."""
    colors = [[n, 0, 0] for n in range(len(CLASSES) + 1)]
    supervision = {"training_images": 40, "trusted_masks": 3, "dev_masks": 6}
    values = {"facts": FACTS, "classes": CLASSES, "colors": colors, "supervision": supervision}
    file = write_model_file(tmp_path / "model.safetensors", **{**values, **changes})
    return ModelCard.model_validate(file_metadata(file))


def front_matter(text: str) -> dict:
    """Return the metadata at the beginning of a card."""
    start, front, body = text.split("---\n", 2)
    assert not start and body.startswith("\n# ")
    return yaml.safe_load(front)


def test_the_front_matter_holds_the_scores_of_classes_of_any_name(tmp_path):
    front = front_matter(model_card(card(tmp_path)))
    assert front["pipeline_tag"] == "image-segmentation" and front["license"] == "unknown"
    assert "datasets" not in front
    ((result,),) = (one["results"] for one in front["model-index"])
    assert result["dataset"]["split"] == "val"
    assert {one["name"]: one["value"] for one in result["metrics"]} == {
        "mIoU (val_crf)": 0.41234,
        "IoU of background (val_crf)": 0.9,
        f"IoU of {CLASSES[0]} (val_crf)": 0.0,
        f"IoU of {CLASSES[1]} (val_crf)": 0.25,
    }
    named = model_card(card(tmp_path, facts={**FACTS, "dataset": "me/pets"}))
    assert front_matter(named)["datasets"] == ["me/pets"]


def test_the_text_says_what_is_known(tmp_path):
    text = model_card(card(tmp_path), "2026-01-02")
    for words in (
        "0.412", "0.300 to 0.500", "40 photographs of train, 1 photograph of val",
        "3 of the 40 training labels are masks drawn by hand",
        "those that did best on 6 further photographs with masks",
        "2 training photographs excluded or relabelled by hand", "Trained on: 2026-01-02",
        "licence: apache-2.0", "U2-Net-p; licence: Apache-2.0", "ab12", "too few to learn from.",
        "because no mask of the scored images shows them: cow",
    ):  # fmt: skip
        assert words in text, words
    # A name is text, not Markdown or HTML.
    assert r"cow \| \<b\>\*ox\*\</b\>" in text and "<b>" not in text.split("---\n", 2)[2]


def test_a_crf_that_makes_it_worse_is_told_beside_the_scores(tmp_path):
    sentence = "It falls by 0.038: look at crf.bilateral_weight, or i2crc segment without --crf."
    text = model_card(card(tmp_path, facts={**FACTS, "fallen": [sentence]}))
    assert f"is after the dense CRF (`--crf`).\n{sentence}\n" in text
    assert "It falls" not in model_card(card(tmp_path))


def test_without_scores_it_says_so(tmp_path):
    text = model_card(card(tmp_path, facts={**FACTS, "scores": {}}))
    assert "Nothing was scored" in text and "mIoU" not in text
    assert "model-index" not in front_matter(text)


def test_names_with_underscores_stay_readable():
    assert escape("val_crf and _all_") == r"val_crf and \_all\_"


def test_the_run_writes_the_card_which_the_model_file_alone_makes_again(finished):
    text = (finished.results / "MODEL_CARD.md").read_text()
    _, read = read_model(finished.results / "model.safetensors", torch.device("cpu"))
    lines = [line for line in text.splitlines() if not line.startswith("- Trained on: 2")]
    assert model_card(read).splitlines() == lines and len(text.splitlines()) == len(lines) + 1
    results = front_matter(text)["model-index"][0]["results"]
    for result, stage in zip(results, ("val_crf", "val_prediction"), strict=True):
        score = json.loads((finished.results / f"scores/{stage}.json").read_text())
        assert result["metrics"][0]["value"] == score["miou"]
        low, high = score["miou_interval"]
        assert f"{low:.3f} to {high:.3f}" in text
    assert "val has 6 images with a mask" in text


def test_a_file_of_an_earlier_version_has_no_card(tmp_path):
    with pytest.raises(Exception, match="an earlier version made the model file; make it again"):
        model_card(card(tmp_path, facts=None))
