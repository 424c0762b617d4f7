"""The dense CRF of a segmentation (METHOD 24-25), through pydensecrf."""

import numpy as np
import torch
from pydensecrf.densecrf import DenseCRF2D

from i2crc.config.schema import Crf
from i2crc.data.transforms import CAFFE_BGR
from i2crc.models.upsampling import upsample


def dense_crf(photo: np.ndarray, logits: np.ndarray, settings: Crf) -> np.ndarray:
    """Return (L, H, W) float32 marginals of an (H, W, 3) uint8 RGB photograph, (L, h, w) logits."""
    height, width = photo.shape[:2]
    scores = upsample(logits, (height, width))
    probabilities = torch.from_numpy(scores).softmax(dim=0).clamp(1e-5, 1)
    unary = -probabilities.log().flatten(1).numpy()
    image = legacy_image(photo) if settings.image == "legacy" else photo
    crf = DenseCRF2D(width, height, len(unary))
    crf.setUnaryEnergy(np.ascontiguousarray(unary))
    crf.addPairwiseGaussian(sxy=settings.gaussian_xy, compat=settings.gaussian_weight)
    crf.addPairwiseBilateral(
        sxy=settings.bilateral_xy,
        srgb=settings.bilateral_rgb,
        rgbim=np.array(image, order="C"),  # a copy, because pydensecrf needs it writable
        compat=settings.bilateral_weight,
    )
    marginals = crf.inference(settings.iterations)
    return np.asarray(marginals, dtype=np.float32).reshape(-1, height, width)


def crf_label(
    photo: np.ndarray, logits: np.ndarray, settings: Crf
) -> tuple[np.ndarray, np.ndarray]:
    """Return the (H, W) uint8 label after the CRF, and the (H, W) float32 marginal of each label.

    `photo` and `logits` are those of `dense_crf`.
    """
    marginals = dense_crf(photo, logits, settings)
    return marginals.argmax(axis=0).astype(np.uint8), marginals.max(axis=0)


def legacy_image(photo: np.ndarray) -> np.ndarray:
    """Return the image of the published CRF (METHOD 25).

    It is BGR minus the mean, truncated to integers and wrapped to uint8.
    """
    centered = photo[:, :, ::-1].astype(np.float32) - np.array(CAFFE_BGR.mean, dtype=np.float32)
    return np.trunc(centered).astype(np.int64).astype(np.uint8)
