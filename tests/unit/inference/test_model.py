"""`i2crc.load_model`: what a photograph may be, what is returned, and what is refused."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import i2crc
from helpers.weights import CLASSES, write_model_file
from i2crc.inference.prediction import network_label, predict_batch
from i2crc.runtime.errors import InputError

COLORS = [[0, 0, 0], [10, 20, 30], [40, 50, 60]]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    return i2crc.load_model(str(write_model_file(path, colors=COLORS)), "cpu")


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)


def test_a_file_an_image_and_an_array_give_the_same(model, pixels, tmp_path):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        results = [model(photo) for photo in (tmp_path / "a.png", image, pixels)]
    for result in results:
        assert np.array_equal(result.label, results[0].label)
    assert result.label.shape == (40, 60) and result.label.dtype == np.uint8
    assert result.classes == CLASSES and result.colors.tolist() == COLORS
    found = {["background", *CLASSES][value] for value in np.unique(result.label)}
    assert result.areas.keys() == result.confidence.keys() == found
    assert sum(area.pixels for area in result.areas.values()) == 2400
    assert all(1 / 3 <= share <= 1 for share in result.confidence.values())


@pytest.mark.parametrize("side", [(1, 1), (20, 3000), (3000, 20), (130, 70)])
@pytest.mark.parametrize("options", [{}, {"scales": [0.5, 1.5], "flip": True}, {"crf": True}])
def test_any_size_keeps_its_size(model, side, options):
    pixels = np.random.default_rng(0).integers(0, 256, (*side, 3), np.uint8)
    assert model(pixels, **options).label.shape == side


def test_a_turned_image_is_labelled_as_displayed(model, pixels, tmp_path):
    turned = Image.Exif()
    turned[274] = 6
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=turned)
    with Image.open(tmp_path / "a.jpg") as image:
        from_image = model(image).label
    assert from_image.shape == (60, 40)
    assert np.array_equal(from_image, model(tmp_path / "a.jpg").label)


def test_a_model_predicts_as_its_run_did_unless_it_is_told_otherwise(model, pixels, tmp_path):
    views = {"scales": [0.5, 1.5], "flip": True}
    file = write_model_file(tmp_path / "model.safetensors", colors=COLORS, prediction=views)
    other = i2crc.load_model(file, "cpu")
    assert other(pixels).confidence == model(pixels, **views).confidence
    assert other(pixels, scales=[1], flip=False).confidence == model(pixels).confidence
    assert other(pixels).confidence != model(pixels).confidence


def test_the_average_is_that_of_the_probabilities(model, pixels):
    network, preprocessing = model.network, model.card.preprocessing
    views = [pixels, pixels[:, ::-1]]
    scores = [np.exp(predict_batch(network, [view], preprocessing)[0]) for view in views]
    one, other = (values / values.sum(axis=0) for values in scores)
    both = np.exp(predict_batch(network, [pixels], preprocessing, flip=True)[0])
    np.testing.assert_allclose(both, (one + other[:, :, ::-1]) / 2, atol=1e-5)


def test_the_probability_of_a_label_is_its_softmax():
    label, probability = network_label(np.log([[[1.0]], [[3.0]]]), (2, 2))
    assert (label == 1).all()
    np.testing.assert_allclose(probability, 0.75, rtol=1e-6)


@pytest.mark.parametrize(
    ("photo", "message"),
    [
        (np.zeros((4, 4), np.uint8), r"an array of shape \(4, 4\) and type uint8 is no photograph"),
        (np.zeros((4, 4, 3)), "type float64 is no photograph; give RGB values as"),
        (Image.new("F", (4, 4)), "image: mode F, whose values have no fixed range"),
        ("none.jpg", "none.jpg: missing; add it"),
        (np.zeros((0, 5, 3), np.uint8), r"shape \(0, 5, 3\) and type uint8 is no photograph"),
        (np.zeros((5, 0, 3), np.uint8), r"shape \(5, 0, 3\) and type uint8 is no photograph"),
        (Image.new("RGB", (0, 5)), "image: has no pixels; give another photograph"),
    ],
)
def test_what_is_no_photograph_is_refused(model, photo, message):
    with pytest.raises(InputError, match=message):
        model(photo)


def test_an_image_that_ends_too_early_is_refused(model, pixels, tmp_path):
    Image.fromarray(pixels).save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:900])
    with Image.open(tmp_path / "a.jpg") as image, pytest.raises(InputError) as refused:
        model(image)
    assert str(refused.value).startswith(f"{tmp_path}/a.jpg: cannot be decoded (")


@pytest.mark.parametrize("device", ["foo", "meta", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(model, device):
    with pytest.raises(InputError, match=rf"device {device}: torch .*; leave the device out"):
        i2crc.load_model(model.path, device)


def test_scales_may_be_an_array(model, pixels):
    label = model(pixels, scales=np.array([0.5, 1.0])).label
    assert np.array_equal(label, model(pixels, scales=[0.5, 1]).label)


def test_the_network_computes_in_full_precision_and_leaves_the_setting(model, pixels, monkeypatch):
    seen = []
    layer = model.network.register_forward_hook(
        lambda *values: seen.append(torch.backends.cudnn.conv.fp32_precision)
    )
    for allowed in (True, False):
        monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", allowed)
        model(pixels)
        assert torch.backends.cudnn.allow_tf32 == allowed
    layer.remove()
    assert seen == ["ieee", "ieee"]


def test_the_crf_of_an_earlier_model_file_is_refused(pixels, tmp_path):
    model = i2crc.load_model(write_model_file(tmp_path / "model.safetensors", crf=None), "cpu")
    assert model(pixels).label.shape == (40, 60)
    with pytest.raises(InputError, match=r"model.safetensors: has no settings of the CRF, because"):
        model(pixels, crf=True)


def test_the_package_and_the_file_are_enough(finished, tmp_path):
    photo = min((finished.results / "dataset/JPEGImages").glob("demo_val_*"))
    for file in (finished.results / "model.safetensors", photo):
        shutil.copy(file, tmp_path)
    code = (
        "import sys, i2crc\n"
        "assert 'torch' not in sys.modules\n"
        f"print(i2crc.load_model('model.safetensors', 'cpu')({photo.name!r}, crf=True).label.sum())"
    )
    # Isolated (-I) but for the library's own folder, which is a copy elsewhere here.
    library = finished.folder / "workflow_scripts"
    code = f"import sys; sys.path.insert(0, {str(library)!r}); {code}"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    with Image.open(finished.results / f"crf/final/val/images/{photo.stem}.png") as label:
        assert int(done.stdout) == np.asarray(label).sum()
