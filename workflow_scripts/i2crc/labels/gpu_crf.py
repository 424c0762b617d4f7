"""The dense CRF of pydensecrf (METHOD 24) in PyTorch, for GPUs; it runs on the CPU as well."""

from math import prod, sqrt

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from i2crc.config.schema import Crf
from i2crc.labels.dense_crf import crf_image
from i2crc.runtime.errors import InputError

# pydensecrf takes this many pixels at a time. It fills up the last block with features of 0, whose
# vertices take part in the blur.
BLOCK = 4


@torch.inference_mode()
def mean_field(
    photo: np.ndarray, probabilities: np.ndarray, settings: Crf, device: str
) -> np.ndarray:
    """Return what `dense_crf.mean_field` returns, computed by PyTorch on a device."""
    height, width = photo.shape[:2]
    rows, columns = (torch.arange(side, device=device) for side in (height, width))
    places = torch.cartesian_prod(rows, columns).flip(1).float()
    image = torch.from_numpy(crf_image(photo, settings)).to(device).view(-1, 3)
    appearance = [places / settings.bilateral_xy, image / settings.bilateral_rgb]
    kernels = [
        (settings.gaussian_weight, Lattice(places / settings.gaussian_xy)),
        (settings.bilateral_weight, Lattice(torch.cat(appearance, dim=1))),
    ]
    scores = torch.from_numpy(probabilities).to(device).clamp(1e-5, 1).log()
    scores = scores.flatten(1).T.contiguous()
    marginals = scores.softmax(1)
    for _ in range(settings.iterations):
        messages = [weight * kernel.filter(marginals) for weight, kernel in kernels]
        marginals = (scores + sum(messages)).softmax(1)
    return marginals.T.reshape(-1, height, width).cpu().numpy()


class Lattice:
    """The permutohedral lattice of pixels with (N, d) float32 features (Adams et al. 2010).

    It filters values of the pixels by a Gaussian of standard deviation 1 between their features,
    with the approximation, the normalisation and the rounding of pydensecrf. Raise InputError if
    the features are too far apart.
    """

    def __init__(self, features: Tensor) -> None:
        count, d = features.shape
        starts, ranks, weights = simplices(F.pad(features, (0, 0, 0, -count % BLOCK)))
        weights[count:] = 0
        corners, steps = number_corners(starts, ranks)
        in_order, order = corners.flatten().sort(stable=True)
        numbers, sorted_vertices, sizes = in_order.unique_consecutive(
            return_inverse=True, return_counts=True
        )
        vertices = torch.empty_like(order).scatter_(0, order, sorted_vertices).view(-1, d + 1)
        # What `filter` adds up: pixels for each vertex, then in d + 1 directions the neighbours of
        # each vertex, and at last vertices for each pixel. One more vertex, the last, has the value
        # 0 and stands for missing neighbours.
        self.splat = (order // (d + 1)).clamp(max=count - 1).int()
        self.splat_begins = F.pad(sizes.cumsum(0), (1, 0)).int()
        self.splat_weights = weights.flatten()[order]
        self.blurs = [
            torch.stack([_find(numbers, side) for side in (0, -step, step)], dim=1).int()
            for step in steps
        ]
        self.blur_weights = weights.new_tensor([1, 0.5, 0.5]).repeat(len(numbers) + 1, 1)
        self.slice = vertices[:count].int()
        self.slice_weights = weights[:count] / (1 + 2.0**-d)
        self.norm = weights.new_ones(count, 1)
        self.norm = (self.filter(self.norm) + 1e-20).rsqrt()

    def filter(self, values: Tensor) -> Tensor:
        """Return (N, L) values of the pixels, filtered and normalised symmetrically."""
        vertices = F.embedding_bag(
            self.splat,
            values * self.norm,
            self.splat_begins,
            mode="sum",
            per_sample_weights=self.splat_weights,
        )
        for near in self.blurs:
            vertices = _sums(near, vertices, self.blur_weights)
        return _sums(self.slice, vertices, self.slice_weights) * self.norm


def simplices(features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the simplex of the lattice that each of (N, d) float32 features lies in.

    That is its vertex of remainder 0 and the ranks of the coordinates, (N, d+1) int64, and the
    (N, d+1) float32 barycentric weights of its vertices. The sums have pydensecrf's order.
    """
    d = features.shape[1]
    deviation = float(np.float32(sqrt(2 / 3) * (d + 1)))
    total = torch.zeros_like(features[:, 0])
    elevated = []
    for axis in range(d, 0, -1):
        scaled = features[:, axis - 1] * (deviation / sqrt(axis * (axis + 1)))
        elevated.append(total - axis * scaled)
        total = total + scaled
    position = torch.stack([total, *reversed(elevated)], dim=1)
    multiples = (position * (1 / (d + 1))).round()
    starts = multiples * (d + 1)
    largest_first = (position - starts).argsort(dim=1, descending=True, stable=True)
    ranks = largest_first.argsort(dim=1) + multiples.sum(dim=1, keepdim=True).long()
    # Back to the plane in which the coordinates add up to 0.
    moves = (d + 1) * ((ranks < 0).long() - (ranks > d).long())
    starts, ranks = starts + moves, ranks + moves
    rests = torch.zeros_like(position).scatter_(1, d - ranks, (position - starts) * (1 / (d + 1)))
    weights = torch.cat([rests[:, :1] + (1 - rests[:, -1:]), rests.diff(dim=1)], dim=1)
    return starts.long(), ranks, weights


def number_corners(starts: Tensor, ranks: Tensor) -> tuple[Tensor, list[int]]:
    """Return the (N, d+1) numbers of the vertices of simplices, and the steps to neighbours.

    Different vertices have different int64 numbers, which are linear in the coordinates: in each of
    the d + 1 directions the neighbours' numbers differ by the same step. Raise InputError if there
    are more numbers than int64 has.
    """
    d = starts.shape[1] - 1
    lowest, highest = starts.amin(dim=0) - 2 * d, starts.amax(dim=0) + 2 * d
    spans = (highest - lowest + 1)[:d].tolist()
    if prod(spans) >= 2**63:
        raise InputError(
            "crf.gaussian_xy, crf.bilateral_xy or crf.bilateral_rgb is too small for the CRF on a "
            "GPU; give larger ones, or set runtime.crf_on_gpu to false"
        )
    scales = [*(prod(spans[:axis]) for axis in range(d)), 0]
    factors = torch.tensor(scales, device=starts.device)
    corners = [
        ((starts - lowest + corner - (d + 1) * (ranks > d - corner)) * factors).sum(dim=1)
        for corner in range(d + 1)
    ]
    return torch.stack(corners, dim=1), [(d + 1) * scale - sum(scales) for scale in scales]


def _find(numbers: Tensor, step: int) -> Tensor:
    """Return the places of each number + step among M sorted numbers, and M: M means none."""
    wanted = numbers + step
    places = torch.searchsorted(numbers, wanted)
    is_found = numbers[places.clamp(max=len(numbers) - 1)] == wanted
    return F.pad(places.where(is_found, len(numbers)), (0, 1), value=len(numbers))


def _sums(rows: Tensor, values: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted sums of the rows of (M, L) values that each of (N, n) rows names."""
    return F.embedding_bag(rows, values, mode="sum", per_sample_weights=weights)
