"""The published renderings, which the benchmarks compare ours with, compute the same as ours."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

import published
import published_labels
from helpers.project import ROOT, environment, merge
from i2crc.config.load import load_config, read_yaml
from i2crc.config.schema import Classifier, Crf, PseudoLabels, Refinement, Segmentation
from i2crc.data.drawn_demo import write_demo
from i2crc.data.images import write_label
from i2crc.data.transforms import CAFFE_BGR, IMAGENET
from i2crc.evaluation.metrics import confusion, scores
from i2crc.labels.dense_crf import crf_label
from i2crc.labels.pseudo_labels import initial_label, refine_label
from i2crc.models.cam_classifier import build_classifier
from i2crc.models.deeplab import build_segmentation
from i2crc.training.classifier import ClassifierSamples
from i2crc.training.optim import build_optimizer, parameter_groups
from i2crc.training.segmentation import SegmentationSamples
from material import Material
from published_networks import ClassifierNetwork, SegmentationNetwork

CLASSES = 5
SHAPE = (6, 7)
LABELS = ("gen_gt", "refine_labels", "score")
NETWORKS = ("compute_saliency", "infer_cam", "predict", "crf")
TRAININGS = ("train_classifier", "train_segmentation")
seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)
some_classes = st.lists(st.integers(0, CLASSES - 1), min_size=1, unique=True).map(sorted)
SMALL = {
    "classifier": {"batch_size": 2, "input_size": 64, "weights": {"source": "random", "name": ""}},
    "segmentation": {"batch_size": 2, "crop_size": 64, "weights": {"source": "random", "name": ""}},
    "runtime": {"workers": 0},
}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A drawn data set in VOC layout, and a configuration for a small computer."""
    folder = tmp_path_factory.mktemp("small")
    write_demo(folder / "voc", folder / "saliency.tar.gz", {"train": 4, "val": 1}, 64, 0)
    settings = merge(read_yaml(ROOT / "config/config.yaml"), SMALL)
    (folder / "small.yaml").write_text(yaml.safe_dump(settings))
    return folder / "voc", folder / "small.yaml"


@pytest.fixture
def material(small, tmp_path):
    return Material(*small, tmp_path, 4, "cpu", 1)


def labels_of(rng: np.random.Generator) -> np.ndarray:
    """A label image of few values, 255 among them."""
    return rng.choice(np.array([0, 0, 1, 2, 5, 255], np.uint8), SHAPE)


@given(seeds, some_classes)
def test_initial_labels(rng, classes):
    attention = {c: rng.integers(0, 256, SHAPE, dtype=np.uint8) for c in classes}
    saliency = rng.integers(0, 256, SHAPE, dtype=np.uint8)
    plain = published_labels.initial_label(attention, saliency, CLASSES, PseudoLabels())
    assert np.array_equal(plain, initial_label(attention, saliency, classes, PseudoLabels()))


@given(seeds, some_classes)
def test_refined_labels(rng, classes):
    prediction, initial, least = labels_of(rng), labels_of(rng), Refinement().min_foreground
    plain = published_labels.refine_label(prediction, initial, classes, least)
    assert np.array_equal(plain, refine_label(prediction, initial, classes, least))


def test_mean_iou(tmp_path):
    total, files = np.zeros((CLASSES + 1, CLASSES + 2), int), []
    for number in range(5):
        rng = np.random.default_rng(number)
        pair = labels_of(rng), labels_of(rng)
        files.append((tmp_path / f"{number}-mask.png", tmp_path / f"{number}-label.png"))
        for path, label in zip(files[-1], pair, strict=True):
            write_label(path, label)
        total += confusion(*pair, CLASSES + 1)
    expected = scores(total, list("012345"))["miou"]
    assert published_labels.mean_iou(files, CLASSES + 1) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("image", ["real", "legacy"])
def test_dense_crf(material, image):
    entry = material.entries(1)[0]
    photo = published.read(Path(entry.image))
    logits = np.random.default_rng(0).normal(size=(CLASSES, 8, 8)).astype(np.float32)
    settings = Crf(image=image, labels="all")
    label, _ = crf_label(photo, logits, settings)
    assert (published.crf_label(photo, logits, settings) == label).mean() > 0.9999


@pytest.mark.parametrize("preprocessing", [IMAGENET, CAFFE_BGR])
def test_classifier_samples(material, preprocessing):
    settings = Classifier(color_jitter=[0, 0, 0, 0], input_size=48)
    saliency = material.saliency()
    files = {entry.id: saliency / f"{entry.id}.png" for entry in material.index.images}
    ours = ClassifierSamples(material.index, files, settings, preprocessing)
    for number, entry in enumerate(material.index.images):
        expected = ours[0, 0, number]
        photo = Path(entry.image)
        image, values = published.classifier_sample(photo, files[entry.id], settings, preprocessing)
        torch.testing.assert_close(image, expected["image"], rtol=0, atol=1e-5)
        assert torch.equal(values, expected["saliency"])


def test_segmentation_samples(material):
    # The crop is larger than a photograph, so that nothing is random.
    settings = Segmentation(scale_jitter=[1.25], crop_size=96, flip=False)
    labels = material.initial()
    files = {entry.id: labels / f"{entry.id}.png" for entry in material.index.images}
    ours = SegmentationSamples(material.index, files, settings, IMAGENET)
    for number, entry in enumerate(material.index.images):
        expected = ours[0, 0, number]
        photo = Path(entry.image)
        image, values = published.segmentation_sample(photo, files[entry.id], settings, IMAGENET)
        torch.testing.assert_close(image, expected["image"], rtol=0, atol=1e-5)
        assert torch.equal(values, expected["label"])


@pytest.mark.parametrize("classes", [[[0], [1], [0, 2], [3]], [[0, 1], [1, 2]]])
def test_classifier_loss(material, classes):
    generator = torch.Generator().manual_seed(0)
    labels = torch.zeros(len(classes), CLASSES)
    for row, own in zip(labels, classes, strict=True):
        row[own] = 1
    saliency = torch.rand(len(classes), 24, 24, generator=generator)
    cam = torch.randn(len(classes), CLASSES, 6, 6, generator=generator, requires_grad=True)
    ours = ClassifierSamples(material.index, {}, Classifier(), IMAGENET)
    expected = ours.loss(cam, {"labels": labels, "saliency": saliency})
    weights = Classifier().relation_losses
    terms = published.classifier_loss(cam, saliency, labels, weights)
    for name, value in terms.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-6)
    gradients = [torch.autograd.grad(one["loss"], cam)[0] for one in (terms, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-7)


def test_segmentation_loss(material):
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(CLASSES, (2, 33, 33), generator=generator, dtype=torch.uint8)
    labels[0, :9] = 255
    logits = [torch.randn(2, CLASSES, s, s, generator=generator).requires_grad_() for s in (5, 3)]
    ours = SegmentationSamples(material.index, {}, Segmentation(), IMAGENET)
    expected = ours.loss(logits, {"label": labels})["loss"]
    loss = published.segmentation_loss(logits, labels)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(
        torch.autograd.grad(loss, logits), torch.autograd.grad(expected, logits)
    )


@pytest.mark.parametrize("name", ["small", pytest.param("paper", marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("kind", ["classifier", "segmentation"])
def test_networks(small, name, kind):
    config = load_config(read_yaml(small[1]) if name == "small" else {}, "test")
    settings = getattr(config, kind)
    build = build_classifier if kind == "classifier" else build_segmentation
    plain = ClassifierNetwork if kind == "classifier" else SegmentationNetwork
    torch.manual_seed(0)
    ours = build(settings, CLASSES)
    other = plain(settings, CLASSES)
    other.load_state_dict(ours.state_dict())
    images = torch.randn(1, 3, 65, 65)
    with torch.no_grad():
        expected, output = ours.eval()(images), other.eval()(images)
    torch.testing.assert_close(output, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("settings", [Classifier().optimizer, Segmentation().optimizer])
@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_steps_of_the_optimiser(settings, name):
    settings = settings.model_copy(update={"name": name, "learning_rate": 0.01})
    weights = []
    for is_ours in (True, False):
        torch.manual_seed(0)
        model = torch.nn.ModuleDict({"body": torch.nn.Linear(3, 3), "head": torch.nn.Linear(3, 2)})
        if is_ours:
            optimizer = build_optimizer(parameter_groups(model, "head", settings), settings)
        else:
            optimizer = published.make_optimizer(model, "head", settings)
        for _ in range(3):
            model["head"](model["body"](torch.ones(1, 3))).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        weights.append(model.state_dict())
    torch.testing.assert_close(*weights)


@pytest.mark.parametrize(
    "names", [LABELS, pytest.param((*NETWORKS, *TRAININGS), marks=pytest.mark.exhaustive)]
)
def test_both_sides_of_the_stages_agree(small, tmp_path, names):
    program = ROOT / "tests/helpers/both_sides.py"
    found = environment(ROOT)
    found["PYTHONPATH"] = f"{found['PYTHONPATH']}:{ROOT / 'benchmarks'}"
    command = [sys.executable, str(program), *map(str, small), str(tmp_path), *names]
    done = subprocess.run(command, env=found, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    agreement = json.loads(done.stdout.splitlines()[-1])
    assert {name for name, value in agreement.items() if value is None} == {*names} & {*TRAININGS}
    assert all(value > 0.99 for value in agreement.values() if value is not None), agreement
