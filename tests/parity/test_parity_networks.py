"""Parity of both networks, their losses, gradients, parameter groups and learning rates."""

import numpy as np
import pytest
import torch

from helpers.formula import insert_formula_weights
from i2crc.config.schema import Classifier, RelationLosses, Segmentation
from i2crc.models.cam_classifier import build_classifier, class_logits
from i2crc.models.deeplab import build_segmentation
from i2crc.runtime.atomic import read_json
from i2crc.training.losses import classification_loss, relation_losses, segmentation_loss
from i2crc.training.optim import learning_rate_factor, parameter_groups

TOLERANCE = 1e-6


def assert_near(actual, expected) -> None:
    """max|difference| within the tolerance of max|expected|."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max() <= TOLERANCE * np.abs(expected).max()


def gradient_norms(model) -> list[float]:
    return [parameter.grad.norm().item() for parameter in model.parameters()]


def keys_and_shapes(model) -> list:
    return [[name, list(value.shape)] for name, value in model.state_dict().items()]


def tensors(file) -> dict[str, torch.Tensor]:
    """The arrays of a file, floating-point ones in double precision.

    The reduced set stores some of them as float32, which rounds by 6e-8 of the value.
    """
    arrays = np.load(file)
    found = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    return {name: t.double() if t.is_floating_point() else t for name, t in found.items()}


def weighted(terms: dict[str, torch.Tensor]) -> torch.Tensor:
    weights = RelationLosses()
    return sum(getattr(weights, name) * term for name, term in terms.items())


def test_relation_losses(golden):
    files = sorted((golden / "relation_losses").glob("case_*.npz"))
    assert files
    for file in files:
        case = tensors(file)
        cam = case["cam"].requires_grad_()
        terms = relation_losses(cam, case["saliency"], case["labels"], RelationLosses())
        total = weighted(terms)
        total.backward()
        for term, name in (("foreground", "fg"), ("background", "bg"), ("class_gap", "dist")):
            assert_near(terms[term].detach(), case[name])
        assert_near(total.detach(), case["total"])
        assert_near(cam.grad, case["grad"])


@pytest.fixture(scope="module")
def classifier(golden):
    """The classifier's description and the network with formula weights."""
    described = read_json(golden / "classifier.json")
    classes = described["keys"][-1][1][0]
    model = build_classifier(Classifier(), classes)
    return described, insert_formula_weights(model, described["salt"])


def test_classifier_keys_and_parameter_groups(classifier):
    described, model = classifier
    assert keys_and_shapes(model) == described["keys"]
    optimizer = Classifier().optimizer
    groups = parameter_groups(model, "extra_convs", optimizer)
    assert [group["names"] for group in groups] == described["parameter_groups"]
    rates = [group["lr"] / optimizer.learning_rate for group in groups]
    assert rates == pytest.approx(described["lr_multipliers"])


def test_classifier_values_and_gradients(golden, classifier):
    _, model = classifier
    case = tensors(golden / "classifier.npz")
    cam = model(case["images"])
    logits = class_logits(cam)
    terms = relation_losses(cam, case["saliency"], case["labels"], RelationLosses())
    classification = classification_loss(logits, case["labels"])
    total = classification + weighted(terms)
    total.backward()
    actual = {
        "cam": cam,
        "logits": logits,
        "foreground_compactness": terms["foreground"],
        "background_compactness": terms["background"],
        "class_distance": terms["class_gap"],
        "classification": classification,
        "total": total,
    }
    for name, value in actual.items():
        assert_near(value.detach(), case[name])
    np.testing.assert_allclose(gradient_norms(model), case["grad_norms"], rtol=TOLERANCE)


@pytest.fixture
def segmentation(golden):
    """The segmentation network's description and the network with random weights."""
    described = read_json(golden / "segmentation.json")
    labels = described["keys"][-1][1][0]
    return described, build_segmentation(Segmentation(), labels - 1)


def test_segmentation_keys_and_output_shapes(segmentation):
    described, model = segmentation
    assert keys_and_shapes(model) == described["keys"]
    with torch.no_grad():
        outputs = model(torch.zeros(described["train_input"]))
    assert [list(output.shape) for output in outputs] == described["train_output_shapes"]


def test_segmentation_learning_rates(golden):
    described = read_json(golden / "segmentation.json")
    settings = Segmentation()
    steps = described["iter_max"]
    rates = [
        settings.optimizer.learning_rate * learning_rate_factor(settings.schedule, step, steps, 0)
        for step in range(steps)
    ]
    np.testing.assert_allclose(rates, described["lr_used_at_iteration_1_to_200"], rtol=TOLERANCE)


def test_segmentation_logits(golden, segmentation):
    described, model = segmentation
    case = tensors(golden / "segmentation.npz")
    model = insert_formula_weights(model, described["salt"]).eval()
    with torch.no_grad():
        assert_near(model(case["image"]), case["logits"])


def test_segmentation_training(golden, segmentation):
    described, model = segmentation
    case = tensors(golden / "segmentation_training.npz")
    model = insert_formula_weights(model, described["salt"]).train()
    loss = segmentation_loss(model(case["images"]), case["labels"]) / Segmentation().accumulate
    loss.backward()
    assert_near(loss.detach(), case["loss"])
    np.testing.assert_allclose(gradient_norms(model), case["grad_norms"], rtol=TOLERANCE)
