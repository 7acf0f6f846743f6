"""Differences of normal probabilities without cancellation."""

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

__all__ = ["normal_difference"]

Array = npt.NDArray[np.float64]

NODES, WEIGHTS = np.polynomial.legendre.leggauss(20)
"""20 nodes integrate exp(-x^2 / 2) over an interval of `normal_difference` to rounding."""


def normal_difference(upper: npt.ArrayLike, lower: npt.ArrayLike) -> Array:
    """Return Phi(upper) - Phi(lower), accurate relative to the difference in both tails.

    Args:
        upper: any numbers, infinite ones too; the two broadcast.
        lower: any numbers.

    Example:
        >>> float(normal_difference(-30.0, -30.0 - 1e-9) / normal_difference(30.0 + 1e-9, 30.0)).__round__(6)
        1.0
    """
    b, a = np.broadcast_arrays(np.asarray(upper, np.float64), np.asarray(lower, np.float64))
    with np.errstate(invalid="ignore", over="ignore"):
        middle, half = (a + b) / 2, (b - a) / 2
        # both points go to the lower tail, where ndtr keeps its relative accuracy
        side = np.where(middle > 0, -1.0, 1.0)
        plain = side * (ndtr(side * b) - ndtr(side * a))
        # over a short interval the two nearly cancel, and the density is integrated instead
        short = np.abs(half) * np.maximum(1.0, np.abs(middle)) < 0.5
        x = np.where(short, middle, 0.0)[..., None] + np.where(short, half, 0.0)[..., None] * NODES
        integral = np.where(short, half, 0.0) * (np.exp(-(x**2) / 2) @ WEIGHTS) / np.sqrt(2 * np.pi)
    return np.asarray(np.where(a == b, 0.0, np.where(short, integral, plain)))
