"""3 x 3 convolutions by fewer multiplications (Winograd, 1980; for networks: Lavin and Gray, CVPR 2016).

m outputs y of a filter g of 3 taps need m + 2 inputs d. As polynomials, filters and outputs have values at
m + 2 points, which are multiplied point by point: y = A' ((G g) * (B' d)), where G and A are the Vandermonde
matrices of the points for 3 and for m coefficients, and B is the inverse of the one for all m + 2. In two
dimensions each matrix acts on rows and on columns: (m + 2)^2 products instead of 9 m^2, and each of them is
a product of matrices over the channels.

The gradient to the input is a convolution by the filter turned round, x^2 g(1/x) as a polynomial: its values
are those of g at the inverse points. So one transformed weight serves both ways.
"""

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

__all__ = ["Filters", "convolve"]

Points = tuple[tuple[float, float], ...]

# Each point p / q as (p, q); (1, 0) is infinity. With those of tiles of 4 the largest float32 error is a
# third of that with 0, +-1, +-2 (256 channels: 3e-6 against 1e-5 of the largest output; directly 3e-7).
POINTS: dict[int, Points] = {
    2: ((0, 1), (1, 1), (-1, 1), (1, 0)),
    4: ((0, 1), (0.75, 1), (-0.75, 1), (1.5, 1), (-1.5, 1), (1, 0)),
}


def _vandermonde(points: Points, coefficients: int) -> np.ndarray:
    """Return the values at the points of each monomial, shape (points, coefficients), in float64."""
    p, q = np.array(points, dtype=float).T[:, :, None]
    power = np.arange(coefficients)
    return p**power * q ** (coefficients - 1 - power)


@cache
def _transforms(points: Points, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Return what transforms tiles, filters and products, in two dimensions, flattened."""
    n = len(points)
    into = np.linalg.inv(_vandermonde(points, n)).T
    matrices = into, _vandermonde(points, 3), _vandermonde(points, n - 2).T
    tile, filters, product = (torch.from_numpy(np.kron(m, m)).to(dtype) for m in matrices)
    return tile, filters, product


class Filters:
    """The weight of a convolution, transformed once for many inputs.

    Args:
        weight: shape (channels, channels_in, 3, 3), float32 or float64, on the CPU.
        m: height and width of the tiles of the output, 2 or 4.
    """

    def __init__(self, weight: Tensor, m: int) -> None:
        """Transform it."""
        points = POINTS[m]
        _, filters, _ = _transforms(points, weight.dtype)
        values = filters @ weight.detach().permute(2, 3, 0, 1).reshape(9, -1)
        self.values = values.view(-1, *weight.shape[:2])
        self.points, self.inverse = points, tuple((q, p) for p, q in points)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """Return the convolution of x with padding 1, shapes as `convolve`."""
        return _tiled(x, self.values.transpose(1, 2), self.points, bias)

    def backward(self, gradient: Tensor) -> Tensor:
        """Return the gradient towards x of a convolution, from that towards its output."""
        return _tiled(gradient, self.values, self.inverse, gradient.new_zeros(()))


def _tiled(x: Tensor, values: Tensor, points: Points, bias: Tensor) -> Tensor:
    """Convolve x with filters given by their values, shape (points^2, channels_in, channels)."""
    n, _, height, width = x.shape
    tile, _, product = _transforms(points, x.dtype)
    side, m = len(points), len(points) - 2
    rows, columns = -(-height // m), -(-width // m)
    margin = (0, 0, 1, columns * m + 1 - width, 1, rows * m + 1 - height)
    padded = F.pad(x.permute(0, 2, 3, 1), margin)
    tiles = padded.unfold(1, side, m).unfold(2, side, m).permute(4, 5, 0, 1, 2, 3)
    spectrum = tile @ tiles.reshape(side**2, -1)
    products = torch.bmm(spectrum.view(side**2, -1, values.shape[1]), values)
    parts = (product @ products.view(side**2, -1)).view(m, m, n, rows, columns, -1)
    shape = n, parts.shape[-1], rows * m, columns * m
    out = torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last)
    whole = out.permute(0, 2, 3, 1).view(n, rows, m, columns, m, -1)
    torch.add(parts.permute(2, 3, 0, 4, 1, 5), bias, out=whole)
    exact = shape[2:] == (height, width)
    return out if exact else out[..., :height, :width].clone(memory_format=torch.channels_last)


class _Convolve(torch.autograd.Function):
    """The convolution and its gradient towards the input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, filters: Filters, bias: Tensor) -> Tensor:
        ctx.filters = filters
        return filters.forward(x, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return ctx.filters.backward(gradient), None, None


def convolve(x: Tensor, filters: Filters, bias: Tensor | None = None) -> Tensor:
    """Return the convolution of stride 1 and padding 1, differentiable in x.

    Args:
        x: shape (n, channels_in, h, w), of the dtype of the weight; it is fastest in channels_last.
        filters: the transformed weight.
        bias: added to the output, shape (channels,).

    Returns:
        Shape (n, channels, h, w), in channels_last.
    """
    return _Convolve.apply(x, filters, x.new_zeros(()) if bias is None else bias)
