"""Differences of normal probabilities without cancellation."""

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

__all__ = ["normal_difference", "normal_interval"]

Array = npt.NDArray[np.float64]

NODES, WEIGHTS = np.polynomial.legendre.leggauss(20)
"""20 nodes integrate exp(-x^2 / 2) over an interval of `normal_interval` to rounding."""


def normal_difference(upper: npt.ArrayLike, lower: npt.ArrayLike) -> Array:
    """Return Phi(upper) - Phi(lower), accurate relative to the difference in both tails.

    Args:
        upper: any numbers, infinite ones too; the two broadcast.
        lower: any numbers.

    Example:
        >>> round(float(normal_difference(-30.0, -30.0 - 1e-9) / normal_difference(30.0 + 1e-9, 30.0)), 6)
        1.0
    """
    b, a = np.broadcast_arrays(np.asarray(upper, np.float64), np.asarray(lower, np.float64))
    with np.errstate(invalid="ignore", over="ignore"):
        middle, half = (a + b) / 2, (b - a) / 2
        finite = np.isfinite(middle) & np.isfinite(half)
        inside = normal_interval(np.where(finite, middle, 0.0), np.where(finite, half, 0.0))
        # with an infinite end both go to the tail where ndtr keeps its relative accuracy
        side = np.where(np.where(np.isinf(a), b, a) > 0, -1.0, 1.0)
    return np.asarray(np.where(finite, inside, side * (ndtr(side * b) - ndtr(side * a))))


def normal_interval(middle: npt.ArrayLike, half: npt.ArrayLike) -> Array:
    """Return Phi(middle + half) - Phi(middle - half), also where the two ends are one double.

    Args:
        middle: finite numbers; the two broadcast.
        half: finite numbers, of any sign.

    Example:
        >>> float(normal_interval(0.0, 1e-30)) > 0
        True
    """
    c, h = np.broadcast_arrays(np.asarray(middle, np.float64), np.asarray(half, np.float64))
    side = np.where(c > 0, -1.0, 1.0)
    plain = side * (ndtr(side * (c + h)) - ndtr(side * (c - h)))
    # over a short interval the two nearly cancel, and the density is integrated instead
    short = np.abs(h) * np.maximum(1.0, np.abs(c)) < 0.5
    x = np.where(short, c, 0.0)[..., None] + np.where(short, h, 0.0)[..., None] * NODES
    integral = np.where(short, h, 0.0) * (np.exp(-(x**2) / 2) @ WEIGHTS) / np.sqrt(2 * np.pi)
    return np.asarray(np.where(short, integral, plain))
