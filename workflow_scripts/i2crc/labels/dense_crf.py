"""The dense CRF of a segmentation (METHOD 24-26)."""

from collections.abc import Sequence
from functools import partial

import numpy as np
from pydensecrf.densecrf import DenseCRF2D

from i2crc.config.schema import Crf
from i2crc.data.images import CAFFE_MEAN
from i2crc.models.upsampling import upsample


def dense_crf(photo: np.ndarray, logits: np.ndarray, settings: Crf) -> np.ndarray:
    """Return (L, H, W) float32 marginals of an (H, W, 3) uint8 RGB photograph, (L, h, w) logits."""
    return mean_field(photo, softmax(upsample(logits, photo.shape[:2])), settings)


def crf_label(
    photo: np.ndarray,
    logits: np.ndarray,
    settings: Crf,
    classes: Sequence[int] | None = None,
    device: str = "cpu",
) -> tuple[np.ndarray, np.ndarray]:
    """Return the (H, W) uint8 label after the CRF, and the (H, W) float32 marginal of each label.

    `photo` and `logits` are those of `dense_crf`. With `classes`, the 0-based ones of the
    photograph, no other takes part. Without, `settings` decides. On the `device` "cpu"
    `settings.engine` computes, on any other PyTorch.
    """
    size = photo.shape[:2]
    infer = mean_field
    if device != "cpu":
        from i2crc.labels import gpu_crf  # here, because it loads torch

        infer = partial(gpu_crf.mean_field, device=device)
    if classes is not None:
        labels = np.array([0, *(number + 1 for number in classes)], np.uint8)
        if len(labels) == 1:
            return np.zeros(size, np.uint8), np.ones(size, np.float32)
        marginals = infer(photo, softmax(upsample(logits[labels], size)), settings)
        return labels[marginals.argmax(axis=0)], marginals.max(axis=0)
    probabilities = softmax(upsample(logits, size))
    likely = probabilities.max(axis=(1, 2)) >= settings.min_probability
    likely[0] = True  # the background
    if settings.labels == "all" or likely.sum() >= len(likely) - 1:
        marginals = infer(photo, probabilities, settings)
        return marginals.argmax(axis=0).astype(np.uint8), marginals.max(axis=0)
    labels, others = (np.flatnonzero(chosen).astype(np.uint8) for chosen in (likely, ~likely))
    # The most probable of the others stands for all of them. Their sum would win where all are low.
    other = probabilities[others].max(axis=0, keepdims=True)
    marginals = infer(photo, np.concatenate([probabilities[labels], other]), settings)
    winner = marginals.argmax(axis=0)
    label, is_other = np.append(labels, np.uint8(0))[winner], winner == len(labels)
    label[is_other] = others[probabilities[others][:, is_other].argmax(axis=0)]
    return label, marginals.max(axis=0)


def softmax(scores: np.ndarray) -> np.ndarray:
    """Return the softmax over the first axis; `scores` is overwritten."""
    scores -= scores.max(axis=0)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=0)
    return scores


def mean_field(photo: np.ndarray, probabilities: np.ndarray, settings: Crf) -> np.ndarray:
    """Return the (L, H, W) float32 marginals of a photograph and (L, H, W) probabilities."""
    if settings.engine == "lattice":
        from i2crc.labels import lattice  # here, because it loads numba

        return lattice.mean_field(photo, probabilities, settings)
    height, width = photo.shape[:2]
    probabilities = probabilities.clip(1e-5, 1).reshape(len(probabilities), -1)
    unary = -np.log(probabilities)
    crf = DenseCRF2D(width, height, len(unary))
    crf.setUnaryEnergy(np.ascontiguousarray(unary))
    crf.addPairwiseGaussian(sxy=settings.gaussian_xy, compat=settings.gaussian_weight)
    crf.addPairwiseBilateral(
        sxy=settings.bilateral_xy,
        srgb=settings.bilateral_rgb,
        rgbim=crf_image(photo, settings),
        compat=settings.bilateral_weight,
    )
    result = crf.inference(settings.iterations)
    return np.asarray(result, dtype=np.float32).reshape(-1, height, width)


def crf_image(photo: np.ndarray, settings: Crf) -> np.ndarray:
    """Return the (H, W, 3) uint8 image that the CRF sees of a photograph, as a writable copy."""
    return np.array(legacy_image(photo) if settings.image == "legacy" else photo, order="C")


def legacy_image(photo: np.ndarray) -> np.ndarray:
    """Return the image of the published CRF (METHOD 25).

    It is BGR minus the mean, truncated to integers and wrapped to uint8.
    """
    centered = photo[:, :, ::-1].astype(np.float32) - np.array(CAFFE_MEAN, dtype=np.float32)
    return np.trunc(centered).astype(np.int64).astype(np.uint8)
