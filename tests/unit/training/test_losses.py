"""The losses: terms switched off, batches without a term's images, several processes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from i2crc.config.schema import RelationLosses
from i2crc.training import losses
from i2crc.training.losses import (
    classification_loss,
    relation_losses,
    resize_labels,
    segmentation_loss,
)

TERMS = ["foreground", "background", "class_gap"]


def batch(*class_counts: int, seed: int = 0):
    """Raw maps, saliency and labels of images with the given numbers of classes."""
    generator = torch.Generator().manual_seed(seed)
    count = len(class_counts)
    cam = torch.randn(count, 3, 4, 5, dtype=torch.double, generator=generator)
    saliency = torch.rand(count, 8, 10, dtype=torch.double, generator=generator)
    labels = torch.zeros(count, 3, dtype=torch.double)
    for number, classes in enumerate(class_counts):
        labels[number, :classes] = 1
    return cam.requires_grad_(), saliency, labels


@pytest.fixture
def over_two_processes(monkeypatch):
    """A function: what DDP descends on, the mean of two processes' losses with averaged counts."""

    def compute(loss, halves) -> torch.Tensor:
        counts = []
        for half in halves:
            counts.append([])
            monkeypatch.setattr(losses, "mean_count", lambda c, f=counts[-1]: f.append(c) or c)
            loss(*half)
        means = [(first + second) / 2 for first, second in zip(*counts, strict=True)]
        total = 0
        for half in halves:
            remaining = iter(means)
            monkeypatch.setattr(losses, "mean_count", lambda _, found=remaining: next(found))
            total = total + loss(*half)
        return total / 2

    return compute


def relation_sum(cam, saliency, labels) -> torch.Tensor:
    terms = relation_losses(cam, saliency, labels, RelationLosses())
    return sum((number + 1) * terms[name] for number, name in enumerate(TERMS))


def test_all_terms_by_default():
    assert set(relation_losses(*batch(1, 2), RelationLosses())) == set(TERMS)


@pytest.mark.parametrize("left_out", [*[[name] for name in TERMS], TERMS[:2], TERMS[1:], TERMS])
def test_zero_weight_leaves_the_term_out_and_the_others_unchanged(left_out):
    inputs = batch(1, 2, 1)
    whole = relation_losses(*inputs, RelationLosses())
    terms = relation_losses(*inputs, RelationLosses(**dict.fromkeys(left_out, 0)))
    assert set(terms) == set(TERMS) - set(left_out)
    assert all(torch.equal(value, whole[name]) for name, value in terms.items())


def test_no_image_of_one_class_gives_zero_with_a_gradient():
    cam, saliency, labels = batch(2, 0, 3)
    terms = relation_losses(cam, saliency, labels, RelationLosses())
    assert {name: value.item() for name, value in terms.items()} == dict.fromkeys(TERMS, 0)
    sum(terms.values()).backward()
    assert torch.equal(cam.grad, torch.zeros_like(cam))


def test_all_images_are_computed_where_those_of_one_class_cannot_be_chosen():
    """As on a GPU; tensors of the device `meta` have no values to choose by."""
    inputs = [value.detach().to("meta") for value in batch(1, 2, 1)]
    assert set(relation_losses(*inputs, RelationLosses())) == set(TERMS)
    classification_loss(inputs[0].mean((2, 3)), inputs[2])


def test_a_batch_without_any_class_lowers_all_logits():
    cam, saliency, labels = batch(0, 0)
    loss = classification_loss(cam.mean((2, 3)), labels)
    (loss + sum(relation_losses(cam, saliency, labels, RelationLosses()).values())).backward()
    assert loss.isfinite()
    assert (cam.grad > 0).all()


def test_images_of_several_classes_do_not_count():
    cam, saliency, labels = batch(1, 2, 1)
    alone = relation_losses(cam[::2], saliency[::2], labels[::2], RelationLosses())
    for name, value in relation_losses(cam, saliency, labels, RelationLosses()).items():
        torch.testing.assert_close(value, alone[name])


@given(
    size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    own=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    seed=st.integers(0, 99),
)
def test_relation_losses_follow_their_definition(size, own, seed):
    """Also where no side of the mask is a multiple of the map's; with equal gradients."""
    generator = torch.Generator().manual_seed(seed)
    cam = torch.randn(2, 3, *size, dtype=torch.double, generator=generator).requires_grad_()
    saliency = torch.rand(2, *own, dtype=torch.double, generator=generator)
    labels = torch.eye(3, dtype=torch.double)[:2]
    terms = relation_losses(cam, saliency, labels, RelationLosses())
    x = torch.nn.functional.interpolate(cam, own, mode="bilinear", align_corners=False)
    expected, centers = {}, {}
    for name, mask in (("foreground", saliency[:, None]), ("background", 1 - saliency[:, None])):
        area = mask.sum((2, 3), keepdim=True) + 1e-5
        centers[name] = (x * mask).sum((2, 3), keepdim=True) / area
        spread = (((x - centers[name]) * mask) ** 2).sum((2, 3), keepdim=True) / area
        expected[name] = spread.mean()
    gap = (centers["background"] - centers["foreground"])[:, :, 0, 0] * labels
    expected["class_gap"] = gap.mean()
    for name in TERMS:
        torch.testing.assert_close(terms[name], expected[name])
        gradients = [
            torch.autograd.grad(t[name], cam, retain_graph=True) for t in (terms, expected)
        ]
        torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("class_counts", [(1, 1, 1, 1), (1, 2, 2, 1), (1, 1, 1, 2), (1, 1, 2, 2)])
def test_relation_losses_of_two_processes_are_those_of_the_batch(class_counts, over_two_processes):
    cam, saliency, labels = batch(*class_counts)
    whole = relation_sum(cam, saliency, labels)
    halves = [(cam[h], saliency[h], labels[h]) for h in (slice(0, 2), slice(2, 4))]
    split = over_two_processes(relation_sum, halves)
    torch.testing.assert_close(split, whole)
    gradients = [torch.autograd.grad(loss, cam, retain_graph=True)[0] for loss in (split, whole)]
    torch.testing.assert_close(*gradients)


def test_classification_loss_of_two_processes_is_that_of_the_batch(over_two_processes):
    cam, _, labels = batch(1, 2, 3)
    logits = cam.mean((2, 3))
    whole = classification_loss(logits, labels)
    torch.testing.assert_close(
        whole, torch.nn.functional.multilabel_soft_margin_loss(logits, labels)
    )
    halves = [(logits[:1], labels[:1]), (logits[1:], labels[1:])]
    torch.testing.assert_close(over_two_processes(classification_loss, halves), whole)


def segmentation_batch():
    """Logits of two scales and labels; the halves differ in how many pixels they ignore."""
    generator = torch.Generator().manual_seed(0)
    logits = [
        torch.randn(4, 3, *size, dtype=torch.double, generator=generator, requires_grad=True)
        for size in ((6, 8), (3, 4))
    ]
    labels = torch.randint(0, 3, (4, 12, 16), generator=generator)
    labels[0, :, :9] = labels[3, :4] = 255
    return logits, labels


CLASS_WEIGHTS = torch.tensor([0.5, 3.0, 20.0])


@pytest.mark.parametrize("weights", [None, CLASS_WEIGHTS])
def test_segmentation_loss_of_two_processes_is_that_of_the_batch(over_two_processes, weights):
    logits, labels = segmentation_batch()
    whole = segmentation_loss(logits, labels, weights)
    halves = [([s[h] for s in logits], labels[h], weights) for h in (slice(0, 2), slice(2, 4))]
    torch.testing.assert_close(over_two_processes(segmentation_loss, halves), whole)


@pytest.mark.parametrize("weights", [None, CLASS_WEIGHTS])
def test_segmentation_loss_is_the_sum_of_the_scales_cross_entropies(weights):
    logits, labels = segmentation_batch()
    expected = sum(
        torch.nn.functional.cross_entropy(
            scale,
            resize_labels(labels, scale.shape[2:]),
            None if weights is None else weights.double(),
            ignore_index=255,
        )
        for scale in logits
    )
    torch.testing.assert_close(segmentation_loss(logits, labels, weights), expected)


@pytest.mark.parametrize("weights", [None, CLASS_WEIGHTS])
def test_segmentation_loss_without_a_label_is_zero_with_a_gradient(weights):
    logits, labels = segmentation_batch()
    loss = segmentation_loss(logits, torch.full_like(labels, 255), weights)
    loss.backward()
    assert loss.item() == 0
    assert all(torch.equal(scale.grad, torch.zeros_like(scale)) for scale in logits)
