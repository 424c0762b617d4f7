"""The dense CRF of pydensecrf (METHOD 24) for one core, compiled by numba.

The first import compiles for some seconds. numba keeps the result in a folder that
`i2crc/__init__.py` names.
"""

from collections.abc import Callable
from math import sqrt
from pickle import UnpicklingError
from typing import Any

import numpy as np
from numba import njit

from i2crc.config.schema import Crf
from i2crc.labels.dense_crf import crf_image, softmax

ZERO, HALF, ONE = np.float32(0), np.float32(0.5), np.float32(1)
# pydensecrf takes this many pixels at a time. It fills up the last block with features of 0, whose
# vertices take part in the blur.
BLOCK = 4


def mean_field(photo: np.ndarray, probabilities: np.ndarray, settings: Crf) -> np.ndarray:
    """Return what `dense_crf.mean_field` returns with the engine pydensecrf."""
    labels, *size = probabilities.shape
    places = np.indices(size, np.float32)[::-1].reshape(2, -1).T
    colours = crf_image(photo, settings).reshape(-1, 3).astype(np.float32)
    appearance = [places / settings.bilateral_xy, colours / settings.bilateral_rgb]
    smoothness = CompiledLattice(places / settings.gaussian_xy, settings.gaussian_weight)
    bilateral = CompiledLattice(np.concatenate(appearance, axis=1), settings.bilateral_weight)

    def message(values: np.ndarray) -> Any:
        return smoothness.filter(values) + bilateral.filter(values)

    scores = probabilities.reshape(labels, -1).clip(1e-5, 1)
    np.log(scores, out=scores)
    marginals = softmax(scores.copy())
    # The marginals of a pixel add up to 1, so the message of label 0 follows from the others.
    packed = np.ones(marginals.shape[1], np.complex64)
    every = message(packed).real
    for _ in range(settings.iterations):
        # Two labels at a time, as one complex number: few enough for the caches of a processor.
        for label in range(1, labels, 2):
            pair = marginals[label : label + 2]
            packed.real, packed.imag = pair[0], pair[-1]
            filtered = message(packed)
            pair[0], pair[-1] = filtered.real, filtered.imag
        marginals[0] = every - marginals[1:].sum(axis=0)
        marginals += scores
        softmax(marginals)
    return marginals.reshape(probabilities.shape)


class CompiledLattice:
    """The permutohedral lattice of pixels with (N, d) float32 features (Adams et al. 2010).

    It filters values of the pixels by a Gaussian of standard deviation 1 between their features,
    times `weight`, with the approximation, the normalisation and the rounding of pydensecrf.
    """

    def __init__(self, features: np.ndarray, weight: float) -> None:
        count, d = features.shape
        deviation = float(np.float32(sqrt(2 / 3) * (d + 1)))
        scales = np.array([deviation / sqrt(axis * (axis + 1)) for axis in range(1, d + 1)])
        # The key of a vertex is the sum of the steps that lead to it from the origin. A step in
        # each of the d + 1 directions leads back, so they add up to 0. They are random int64: that
        # two vertices have the same key has a chance of about 1e-8.
        steps = np.random.default_rng(0).integers(-(2**62), 2**62, d + 1)
        steps[d] = -steps[:d].sum()
        padded = np.zeros((-(-count // BLOCK) * BLOCK, d), np.float32)
        padded[:count] = features
        table = np.full(2 << (padded.size + len(padded)).bit_length(), -1, np.int32)
        corners, weights, keys = _embed(padded, scales.astype(np.float32), steps, table)
        self.corners, self.weights = corners[:count], weights[:count]
        self.near = _neighbours(keys, steps, table)
        gain = 1 / (1 + 2.0**-d)  # of the blur
        density = gain * self.filter(np.ones(count, np.complex64)).real
        # Each pixel's weights count in the splat and in the slice.
        self.weights *= np.sqrt(weight * gain / (density + 1e-20))[:, None]

    def filter(self, values: np.ndarray) -> Any:
        """Return (N,) complex64 values of the pixels, filtered."""
        return _filter(values, self.corners, self.weights, self.near)


def _compiled(signature: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile a function of these arguments now; keep the result where that is possible."""

    def compile_now(function: Callable[..., Any]) -> Callable[..., Any]:
        compiled: Callable[..., Any]
        try:
            compiled = njit(signature, cache=True)(function)
        except (RuntimeError, OSError, EOFError, UnpicklingError):  # no folder, full, damaged
            compiled = njit(signature)(function)
        return compiled

    return compile_now


@_compiled("int64(int64, int64[::1], int32[::1])")
def _find(key, keys, table):  # type: ignore[no-untyped-def]
    """Return the place of a key in the hash table, or the free one where it belongs."""
    place = key & (len(table) - 1)
    while table[place] >= 0 and keys[table[place]] != key:
        place = (place + 1) & (len(table) - 1)
    return place


@_compiled("(float32[:, ::1], float32[::1], int64[::1], int32[::1])")
def _embed(features, scales, steps, table):  # type: ignore[no-untyped-def]
    """Return the simplex of the lattice that each of (N, d) features lies in.

    That is the numbers of its vertices (N, d+1), their barycentric weights (N, d+1) and the keys
    of all vertices by their number. `table` is filled with the numbers.
    """
    count, d = features.shape
    corners = np.empty((count, d + 1), np.uint32)
    weights = np.empty((count, d + 1), np.float32)
    keys = np.empty(count * (d + 1), np.int64)
    found, inverse = 0, ONE / np.float32(d + 1)
    multiples, ranks, axes = np.zeros((3, d + 1), np.int64)
    rests, ordered = np.zeros((2, d + 1), np.float32)
    for pixel in range(count):
        # The coordinates in the plane where they add up to 0, as a multiple of d + 1 and a rest.
        total, excess = ZERO, 0
        for axis in range(d, -1, -1):
            scaled = features[pixel, axis - 1] * scales[axis - 1] if axis > 0 else ZERO
            position = total - np.float32(axis) * scaled
            total += scaled
            multiple = np.rint(position * inverse)
            multiples[axis] = int(multiple)
            rests[axis] = position - multiple * np.float32(d + 1)
            ranks[axis] = 0
            excess += multiples[axis]
        for axis in range(d):
            for other in range(axis + 1, d + 1):
                is_less = rests[axis] < rests[other]
                ranks[axis] += is_less
                ranks[other] += not is_less
        # The multiples, too, must add up to 0. Huge features are inexact, hence the limits.
        excess, key = min(max(excess, -d), d), 0
        for axis in range(d + 1):
            rank = ranks[axis] + excess
            move = int(rank < 0) - int(rank > d)
            rank += move * (d + 1)
            axes[rank] = axis
            ordered[rank] = (rests[axis] - np.float32(move * (d + 1))) * inverse
            key -= (multiples[axis] + move) * steps[axis]
        weights[pixel, 0] = ordered[d] + (ONE - ordered[0])
        for corner in range(d + 1):
            if corner > 0:
                key += steps[axes[d + 1 - corner]]
                weights[pixel, corner] = ordered[d - corner] - ordered[d + 1 - corner]
            place = _find(key, keys, table)
            if table[place] < 0:
                table[place], keys[found] = found, key
                found += 1
            corners[pixel, corner] = table[place]
    return corners, weights, keys[:found].copy()


@_compiled("(int64[::1], int64[::1], int32[::1])")
def _neighbours(keys, steps, table):  # type: ignore[no-untyped-def]
    """Return the (d+1, M, 2) vertices one step after and before each of M; M means none."""
    count = len(keys)
    near = np.full((len(steps), count, 2), count, np.uint32)
    for direction in range(len(steps)):
        for vertex in range(count):
            after = table[_find(keys[vertex] + steps[direction], keys, table)]
            if after >= 0:
                near[direction, vertex, 0] = after
                near[direction, after, 1] = vertex
    return near


@_compiled("(complex64[::1], uint32[:, ::1], float32[:, ::1], uint32[:, :, ::1])")
def _filter(values, corners, weights, near):  # type: ignore[no-untyped-def]
    """Splat values of pixels to the vertices, blur these in each direction, and slice them."""
    count, directions = corners.shape
    old, new = np.zeros((2, near.shape[1] + 1), values.dtype)
    for pixel in range(count):
        value = values[pixel]
        for corner in range(directions):
            old[corners[pixel, corner]] += weights[pixel, corner] * value
    for direction in range(directions):
        for vertex in range(near.shape[1]):
            after, before = near[direction, vertex]
            new[vertex] = old[vertex] + HALF * (old[after] + old[before])
        old, new = new, old
    result = np.empty_like(values)
    for pixel in range(count):
        total = old[-1]  # 0
        for corner in range(directions):
            total += weights[pixel, corner] * old[corners[pixel, corner]]
        result[pixel] = total
    return result
