"""Parts of the training loop: which images when, learning rates, parameter groups."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from i2crc.config.schema import Classifier, Optimizer, Schedule, Segmentation
from i2crc.models.cam_classifier import build_classifier
from i2crc.models.deeplab import build_segmentation
from i2crc.training.optim import learning_rate_factor, parameter_groups
from i2crc.training.samples import batch_positions, batches_per_epoch

LIGHT = {"backbone": "efficientnet_lite0", "output_stride": 32}


def drawn_in_epoch(epoch: int, images: int, batch_size: int, seed: int) -> list[int]:
    per_epoch = batches_per_epoch(images, batch_size)
    steps = range(epoch * per_epoch, (epoch + 1) * per_epoch)
    positions = [p for step in steps for p in batch_positions(step, images, batch_size, seed)]
    assert {found[:2] for found in positions} == {(seed, epoch)}
    return [image for _, _, image in positions]


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 3), st.integers(0, 2**31))
def test_every_image_comes_once_in_an_epoch_of_full_batches(batches, batch_size, epoch, seed):
    images = batches * batch_size
    assert sorted(drawn_in_epoch(epoch, images, batch_size, seed)) == list(range(images))


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 3))
def test_no_image_comes_twice_in_an_epoch(images, batch_size, epoch):
    drawn = drawn_in_epoch(epoch, images, batch_size, 0)
    assert len(drawn) == len(set(drawn)) > images - batch_size
    assert set(drawn) <= set(range(images))


@given(st.integers(0, 1000), st.integers(1, 40), st.integers(1, 9), st.integers(0, 99))
def test_batches_are_full_and_the_same_each_time(step, images, batch_size, seed):
    batch = batch_positions(step, images, batch_size, seed)
    assert len(batch) == min(images, batch_size)
    assert batch_positions(step, images, batch_size, seed) == batch


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(1, 20), st.integers(0, 2)), min_size=2))
def test_the_order_is_that_of_the_epoch_whatever_was_asked_before(batches):
    for step, images, seed in batches:
        epoch, position = divmod(step, batches_per_epoch(images, 4))
        order = np.random.default_rng([seed, epoch]).permutation(images).tolist()
        found = [number for _, _, number in batch_positions(step, images, 4, seed)]
        assert found == order[4 * position : 4 * position + 4]


def test_left_over_images_come_in_other_epochs():
    drawn = {image for epoch in range(20) for image in drawn_in_epoch(epoch, 11, 4, 0)}
    assert drawn == set(range(11))


def test_order_differs_between_epochs_and_seeds():
    orders = [drawn_in_epoch(epoch, 30, 5, seed) for epoch in (0, 1) for seed in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4


def test_step_schedule_of_the_paper():
    factors = [
        learning_rate_factor(Classifier().schedule, step, 30 * 7, step // 7) for step in range(210)
    ]
    assert factors == pytest.approx([1.0] * 35 + [0.1] * 35 + [0.01] * 140)


@pytest.mark.parametrize(
    ("iteration", "rate"),
    [
        (1, 2.5e-4),
        (10, 2.5e-4),
        (11, 2.5e-4 * (1 - 10 / 20_000) ** 0.9),
        (20_000, 2.5e-4 * (10 / 20_000) ** 0.9),
    ],
)
def test_poly_schedule_of_the_paper(iteration, rate):
    settings = Segmentation()
    factor = learning_rate_factor(settings.schedule, iteration - 1, settings.iterations, 0)
    assert settings.optimizer.learning_rate * factor == pytest.approx(rate)


@given(st.integers(1, 300), st.integers(1, 20), st.floats(0.1, 3))
def test_poly_falls_and_stays_positive(steps, hold, power):
    schedule = Schedule(name="poly", hold=hold, power=power)
    factors = [learning_rate_factor(schedule, step, steps, 0) for step in range(steps)]
    assert factors[0] == 1
    assert all(first >= second > 0 for first, second in pairwise(factors))


@pytest.mark.parametrize(
    ("model", "head"),
    [
        (lambda: build_classifier(Classifier(**LIGHT), 3), "extra_convs"),
        (lambda: build_segmentation(Segmentation(**LIGHT), 3), "base.classifier"),
    ],
    ids=["classifier", "segmentation"],
)
def test_groups_cover_every_parameter_once(model, head):
    model = model()
    groups = parameter_groups(model, head, Optimizer())
    names = [name for group in groups for name in group["names"]]
    assert sorted(names) == sorted(name for name, _ in model.named_parameters())
    for group in groups:
        parameters = [model.get_parameter(name) for name in group["names"]]
        assert all(a is b for a, b in zip(group["params"], parameters, strict=True))
    assert all(group["names"] for group in groups)


def test_groups_have_their_learning_rates():
    model = nn.ModuleDict({"body": nn.Conv2d(3, 4, 1), "head": nn.Conv2d(4, 2, 1)})
    optimizer = Optimizer(learning_rate=0.5, head_factor=10, bias_factor=2)
    groups = parameter_groups(model, "head", optimizer)
    assert {group["names"][0]: group["lr"] for group in groups} == {
        "body.weight": 0.5, "body.bias": 1.0, "head.weight": 5.0, "head.bias": 10.0,
    }  # fmt: skip
    assert all(group["base_lr"] == group["lr"] for group in groups)
