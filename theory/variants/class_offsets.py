"""Class offsets: shifting the bias of a trained classifier, the simplest remedy (ours).

Along one direction the classifier with equal robust errors is the optimal one with its bias shifted. The
shift has a closed form, errors move continuously with it (reweighting jumps:
`theory.gaussian.fairness.reachable_bias`), and its cost grows with its square. Of several linear scores w_k.x
+ b_k an offset changes the margin against class j by o_k - o_j, and the attack that lowers that margin most
is the same: offsets and targeted attacks commute.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from theory.common.inputs import check_array
from theory.gaussian.optimal import optimal_bias

__all__ = ["fair_offset", "offset_cost", "offset_curvature", "offset_margins"]

Array = npt.NDArray[np.float64]

NODES, WEIGHTS = np.polynomial.legendre.leggauss(20)
PIECES = 16
"""Pieces of the interval of `offset_cost`, each with 20 nodes."""


@dataclass(frozen=True)
class _Setting:
    m: Array
    sigma: Array
    K: Array

    @classmethod
    def of(cls, m: npt.ArrayLike, sigma: npt.ArrayLike, K: npt.ArrayLike, *more: npt.ArrayLike) -> "_Setting":
        return cls(
            check_array("margin", m, low=0, strict=True),
            check_array("sigma", sigma, low=0, strict=True),
            check_array("K", K, low=1),
        )

    @property
    def root(self) -> Array:
        """Return sqrt(m^2 + (K^2 - 1) sigma^2 ln K / 2)."""
        kappa = (self.K - 1) * (self.K + 1)
        return np.asarray(np.sqrt(self.m**2 + kappa * self.sigma**2 * np.log(self.K) / 2))


def fair_offset(margin: npt.ArrayLike, sigma: npt.ArrayLike, K: npt.ArrayLike) -> Array:
    """Return the fair bias less the optimal one.

    K sigma^2 ln K / (m + sqrt(m^2 + (K^2 - 1) sigma^2 ln K / 2)).
    The log of the density ratio of the two classes is ln K at the fair bias and 0 at the optimal one.

    Args:
        margin: robust margin m > 0; all arguments broadcast.
        sigma: standard deviation of class -1, > 0.
        K: ratio of the standard deviations, >= 1.

    Raises:
        InputError: an argument is outside its domain.

    Example:
        >>> float(fair_offset(0.7, 1.0, 2.0)).__round__(10)
        0.7157584144
    """
    s = _Setting.of(margin, sigma, K)
    return np.asarray(s.K * s.sigma**2 * np.log(s.K) / (s.m + s.root))


def offset_curvature(margin: npt.ArrayLike, sigma: npt.ArrayLike, K: npt.ArrayLike) -> Array:
    """Return F''(b*) of the average robust error at the optimum.

    phi(z_-) sqrt(m^2 + (K^2 - 1) sigma^2 ln K / 2) / (K sigma^3).
    An offset t costs F'' t^2 / 2 to second order.

    Args:
        margin: robust margin m > 0; all arguments broadcast.
        sigma: standard deviation of class -1, > 0.
        K: ratio of the standard deviations, >= 1.

    Raises:
        InputError: an argument is outside its domain.
    """
    s = _Setting.of(margin, sigma, K)
    z = (optimal_bias(s.m, s.sigma, s.K) - s.m) / s.sigma
    return np.asarray(np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) * s.root / (s.K * s.sigma**3))


def offset_cost(
    offset: npt.ArrayLike, margin: npt.ArrayLike, sigma: npt.ArrayLike, K: npt.ArrayLike
) -> Array:
    """Return F(b* + t) - F(b*), what an offset t adds to the average robust error, to full relative accuracy.

    F' = (narrow - wide) / 2 with the densities of the two classes at the threshold, and narrow / wide =
    exp(g) with g = 2 root t / (K sigma^2) - (K^2 - 1) t^2 / (2 K^2 sigma^2), 0 at the optimum: the integral
    of -expm1(-g) narrow / 2 has no cancellation up to the second root of g.

    Args:
        offset: t, any sign; all arguments broadcast.
        margin: robust margin m > 0.
        sigma: standard deviation of class -1, > 0.
        K: ratio of the standard deviations, >= 1.

    Raises:
        InputError: an argument is outside its domain.
    """
    s = _Setting.of(margin, sigma, K)
    t = check_array("offset", offset, low=-np.inf)
    root, best, t, sigma_, K_, m = (
        np.asarray(v)[..., None]
        for v in np.broadcast_arrays(s.root, optimal_bias(s.m, s.sigma, s.K), t, s.sigma, s.K, s.m)
    )
    nodes = (np.arange(PIECES)[:, None] + (NODES + 1) / 2).ravel() / PIECES
    weights = np.tile(WEIGHTS / 2, PIECES) / PIECES
    x = t * nodes
    g = 2 * root * x / (K_ * sigma_**2) - (K_ - 1) * (K_ + 1) * x**2 / (2 * K_**2 * sigma_**2)
    z = (best + x - m) / sigma_
    slope = -np.expm1(-g) * np.exp(-(z**2) / 2) / (2 * sigma_ * np.sqrt(2 * np.pi))
    return np.asarray((slope @ weights) * t[..., 0])


def offset_margins(margins: npt.ArrayLike, offsets: npt.ArrayLike, label: int) -> Array:
    """Return the margins of a class against each other after offsets, attacked or not.

    Args:
        margins: f_k - f_j for each class j, shape (..., C), 0 at j = k.
        offsets: o, added to the scores, shape (C,).
        label: k.
    """
    o = np.asarray(offsets, np.float64)
    return np.asarray(np.asarray(margins, np.float64) + o[label] - o)
