"""Segmentation samples: scaling, padding and cropping keep image and label together."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from i2crc.config.schema import Segmentation
from i2crc.data.images import resize_nearest, write_label
from i2crc.data.index import Entry, Index, Original
from i2crc.data.transforms import CAFFE_BGR, Preprocessing
from i2crc.runtime.errors import InputError
from i2crc.training import segmentation
from i2crc.training.segmentation import (
    SegmentationSamples,
    balanced_weights,
    padded,
    scaled_crop,
)

# Pixels stay as they are, so that an image can show its own label.
RAW = Preprocessing("rgb", 1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
CROP = 40
CAFFE_BGR_MEAN = torch.tensor(CAFFE_BGR.mean)[:, None]


def blocks(height: int, width: int, side: int) -> np.ndarray:
    """Labels 1 to 200 in squares."""
    rows, columns = np.arange(height) // side, np.arange(width) // side
    return (1 + (rows[:, None] * 13 + columns * 7) % 200).astype(np.uint8)


@pytest.fixture
def make_samples(tmp_path):
    """A function that makes samples of one photograph whose grey values are its label."""

    def make(label: np.ndarray, preprocessing=RAW, **settings) -> SegmentationSamples:
        photo = tmp_path / "a.png"
        Image.fromarray(np.stack([label] * 3, axis=2)).save(photo)
        write_label(tmp_path / "label.png", label)
        entry = Entry("a", str(photo), None, [0], *label.shape[::-1], "")
        return SegmentationSamples(
            Index("train", ["cat"], [entry]),
            {"a": tmp_path / "label.png"},
            Segmentation(crop_size=CROP, **settings),
            preprocessing,
        )

    return make


def test_label_of_a_large_photograph_is_brought_to_the_working_size(make_samples):
    """The label has the size of the photograph itself, three times that of its working copy."""
    working = blocks(30, 40, side=3)
    samples = make_samples(working, scale_jitter=[1.0])
    (entry,) = samples.index.images
    original = Original("photo.jpg", 120, 90, "")
    samples.index.images[0] = replace(entry, original=original)
    with pytest.raises(InputError, match=r"size \(40, 30\), the photograph has \(120, 90\)"):
        samples.sample(0, np.random.default_rng(0))
    write_label(samples.files["a"], working, (120, 90))
    sample = samples.sample(0, np.random.default_rng(0))
    known = sample["label"] != 255
    assert known.sum() == working.size
    assert torch.equal(sample["image"][0][known], sample["label"][known].float())


@pytest.mark.parametrize("shape", [(50, 60), (40, 40), (30, 60), (60, 30), (9, 7)])
def test_image_and_label_stay_aligned(make_samples, shape):
    samples = make_samples(blocks(*shape, side=3), scale_jitter=[1.0])
    for seed in range(12):
        sample = samples.sample(0, np.random.default_rng(seed))
        image, label = sample["image"], sample["label"]
        assert (image.shape, label.shape) == ((3, CROP, CROP), (CROP, CROP))
        assert (image.dtype, label.dtype) == (torch.float32, torch.uint8)
        padded = label == 255
        assert padded.sum() == CROP**2 - min(CROP, shape[0]) * min(CROP, shape[1])
        assert torch.equal(image[0][~padded], label[~padded].float())
        assert (image[:, padded] == 0).all()
        # Below, and at the right, or, mirrored, at the left.
        assert padded[-1].all() == (shape[0] < CROP)
        assert (padded[:, -1] | padded[:, 0]).all() == (shape[1] < CROP or padded.all())


@pytest.mark.parametrize("scale", [0.5, 0.75, 1.25, 1.5])
def test_scaled_image_and_label_stay_aligned(make_samples, scale):
    samples = make_samples(blocks(64, 80, side=16), scale_jitter=[scale])
    for seed in range(6):
        sample = samples.sample(0, np.random.default_rng(seed))
        inside = sample["label"] != 255
        same = sample["image"][0] == sample["label"]
        assert same[inside].float().mean() > 0.6


def test_padding_is_the_mean(make_samples):
    """Zero after the mean is subtracted, for every preprocessing."""
    samples = make_samples(np.ones((20, 20), np.uint8), CAFFE_BGR, scale_jitter=[1.0])
    sample = samples.sample(0, np.random.default_rng(0))
    assert (sample["image"][:, sample["label"] == 255] == 0).all()
    assert (sample["image"][:, sample["label"] == 1] == 1 - CAFFE_BGR_MEAN).all()


def test_same_draw_same_sample(make_samples):
    samples = make_samples(blocks(64, 80, side=3))
    first, again, other = (samples.sample(0, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first["id"] == "a"
    assert torch.equal(first["image"], again["image"])
    assert torch.equal(first["label"], again["label"])
    assert not torch.equal(first["image"], other["image"])


def test_half_of_the_images_are_mirrored(make_samples):
    label = np.tile(np.arange(1, CROP + 1, dtype=np.uint8), (CROP, 1))
    plain = make_samples(label, scale_jitter=[1.0], flip=False)
    mirrored = make_samples(label, scale_jitter=[1.0])
    seeds = range(60)
    assert all(plain.sample(0, np.random.default_rng(s))["label"][0, 0] == 1 for s in seeds)
    flips = [mirrored.sample(0, np.random.default_rng(s))["label"][0, 0] != 1 for s in seeds]
    assert 15 < sum(flips) < 45


def test_every_scale_is_drawn(make_samples):
    samples = make_samples(np.ones((20, 20), np.uint8), scale_jitter=[0.5, 1.0, 1.5], flip=False)
    sizes = {
        int((samples.sample(0, np.random.default_rng(s))["label"][0] == 1).sum()) for s in range(40)
    }
    assert sizes == {10, 20, 30}


@given(
    st.integers(1, 30), st.integers(1, 30), st.sampled_from([0.5, 0.75, 1, 1.25, 1.5]),
    st.integers(1, 40), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_a_crop_is_a_piece_of_the_scaled_photograph(height, width, scale, size, seed):
    rng = np.random.default_rng(seed)
    photo = rng.integers(0, 256, (height, width, 3), np.uint8)
    label = rng.integers(0, 256, (height, width), np.uint8)
    draws = [np.random.default_rng(seed) for _ in range(2)]
    part, target = scaled_crop(photo, label, scale, size, draws[0])
    # The whole photograph, as torch and PIL resize it.
    sides = [max(1, int(side * scale)) for side in label.shape]
    pixels = torch.from_numpy(photo).permute(2, 0, 1)[None].float()
    whole = F.interpolate(pixels, sides, mode="bilinear", align_corners=False)[0]
    top, left = (int(draws[1].integers(max(0, side - size) + 1)) for side in sides)
    rows, columns = slice(top, top + size), slice(left, left + size)
    expected = whole.permute(1, 2, 0)[rows, columns].numpy()
    np.testing.assert_allclose(part, expected, atol=0.01)  # of 255
    scaled = resize_nearest(label, (sides[1], sides[0]))
    assert np.array_equal(target.numpy(), scaled[rows, columns])


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 5))
def test_padding_is_below_and_at_the_right(height, width, more):
    size = max(height, width) + more
    image, label = padded(torch.ones(3, height, width), torch.ones(height, width).byte(), size)
    assert (image.shape, label.shape) == ((3, size, size), (size, size))
    assert (image[:, :height, :width] == 1).all() and image.sum() == 3 * height * width
    assert (label[:height, :width] == 1).all() and (label == 255).sum() == size**2 - height * width


def test_label_of_another_size_is_named(make_samples, tmp_path):
    samples = make_samples(blocks(50, 60, side=3))
    write_label(tmp_path / "label.png", np.zeros((60, 50)))
    with pytest.raises(InputError, match=r"label\.png: size \(50, 60\)"):
        samples.sample(0, np.random.default_rng(0))


@pytest.fixture
def make_labelled(tmp_path):
    """A function that makes an index of two classes, and the label files of its photographs."""

    def make(*labels: np.ndarray) -> tuple[Index, dict]:
        entries, files = [], {}
        for number, label in enumerate(labels):
            name = f"{number:02}"
            files[name] = tmp_path / f"{name}.png"
            write_label(files[name], label)
            entries.append(Entry(name, "photo.jpg", None, [0], *label.shape[::-1], ""))
        return Index("train", ["cat", "dog"], entries), files

    return make


def test_rare_classes_weigh_more_by_their_share_of_the_labelled_pixels(make_labelled):
    first = np.repeat(np.uint8([0, 1, 255]), [10, 6, 4]).reshape(4, 5)
    index, files = make_labelled(first, np.zeros((3, 3), np.uint8))
    shares = np.array([19 / 25, 6 / 25, 1e-4])  # no pixel of the last class
    weights = balanced_weights(index, files, 0.5)
    torch.testing.assert_close(weights, torch.from_numpy(shares**-0.5).float())
    assert torch.equal(balanced_weights(index, files, 0), torch.ones(3))


def test_balanced_weights_without_a_labelled_pixel_are_equal(make_labelled):
    weights = balanced_weights(*make_labelled(np.full((3, 3), 255, np.uint8)), 0.5)
    assert len(weights.unique()) == 1


def test_labels_count_at_the_size_of_the_working_copy(make_labelled):
    """One photograph has nine times the pixels of what the stages read of it."""
    index, files = make_labelled(np.zeros((9, 9), np.uint8), np.ones((3, 3), np.uint8))
    large = replace(index.images[0], width=3, height=3, original=Original("photo.jpg", 9, 9, ""))
    weights = balanced_weights(replace(index, images=[large, index.images[1]]), files, 1)
    assert weights[0] == weights[1] == 2


def test_of_many_labels_evenly_taken_ones_are_counted(make_labelled, monkeypatch):
    monkeypatch.setattr(segmentation, "MOST_COUNTED", 2)
    index, files = make_labelled(*[np.full((2, 2), n % 2, np.uint8) for n in range(4)])
    files = {name: files[name] for name in ("00", "02")}  # the others are not read
    assert balanced_weights(index, files, 1)[0] == 1
