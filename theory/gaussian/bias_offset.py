"""Bias offsets: shifting the bias of a trained classifier, the simplest remedy (ours).

Along one direction the classifier with equal robust errors is the optimal one with its bias shifted. The
shift has a closed form, errors move continuously with it (reweighting jumps:
`theory.gaussian.fairness.reachable_bias`), and its cost grows with its square. An offset leaves every
gradient as it is, so it commutes with targeted attacks: `theory.networks.class_offsets` has the same for
networks.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from theory.common.inputs import check_array
from theory.gaussian.normal import NODES, WEIGHTS
from theory.gaussian.optimal import optimal_z_scores

__all__ = ["fair_offset", "offset_cost", "offset_curvature"]

Array = npt.NDArray[np.float64]

PIECES = 16
"""Pieces of the interval of `offset_cost`, each with 20 nodes."""


@dataclass(frozen=True)
class _Widths:
    """The problem whose first class is the wide one, in terms of K - 1 so that nothing cancels near K = 1.

    Args:
        m: margin.
        sigma: standard deviation of the narrow class.
        excess: ratio of the standard deviations, less 1.
        sign: -1 where the classes were exchanged, which changes the sign of biases.
    """

    m: Array
    sigma: Array
    excess: Array
    sign: Array

    @classmethod
    def of(cls, margin: npt.ArrayLike, sigma: npt.ArrayLike, K: npt.ArrayLike) -> "_Widths":
        m = check_array("margin", margin, low=-np.inf)
        sigma, K = (check_array(n, v, low=0, strict=True) for n, v in (("sigma", sigma), ("K", K)))
        m, sigma, K = np.broadcast_arrays(m, sigma, K)
        swapped = K < 1
        excess = np.where(swapped, (1 - K) / K, K - 1)
        return cls(m, np.where(swapped, K * sigma, sigma), excess, np.where(swapped, -1.0, 1.0))

    @property
    def kappa(self) -> Array:
        """Return K^2 - 1."""
        return self.excess * (2 + self.excess)

    @property
    def root(self) -> Array:
        """Return sqrt(m^2 + (K^2 - 1) sigma^2 ln K / 2), half the distance of the points of equal density."""
        return np.asarray(np.sqrt(self.m**2 + self.kappa * self.sigma**2 * np.log1p(self.excess) / 2))

    @property
    def z_minus(self) -> Array:
        """Return the z-score of the narrow class at the optimum, the threshold's place in its law."""
        return optimal_z_scores(self.m, self.sigma, 1 + self.excess)[1]


def fair_offset(margin: npt.ArrayLike, sigma: npt.ArrayLike, K: npt.ArrayLike) -> Array:
    """Return the fair bias less the optimal one, without their cancellation near K = 1.

    K sigma^2 ln K / (m + root) with root^2 = m^2 + (K^2 - 1) sigma^2 ln K / 2: the log of the ratio of the
    two densities is ln K at the fair bias and 0 at the optimal one. At K = 1 it is 0 for m > 0.

    Args:
        margin: robust margin m, any sign; all arguments broadcast.
        sigma: standard deviation of class -1, > 0.
        K: ratio of the standard deviations, > 0; K < 1 exchanges the classes.

    Raises:
        InputError: an argument is outside its domain.

    Example:
        >>> round(float(fair_offset(0.7, 1.0, 2.0)), 10)
        0.7157584144
    """
    s = _Widths.of(margin, sigma, K)
    ratio = 1 + s.excess
    with np.errstate(divide="ignore", invalid="ignore"):
        conjugate = ratio * s.sigma**2 * np.log1p(s.excess) / (s.m + s.root)
        offset = np.where(s.m > 0, conjugate, 2 * ratio * (s.root - s.m) / s.kappa)
    return np.asarray(s.sign * offset)


def offset_curvature(margin: npt.ArrayLike, sigma: npt.ArrayLike, K: npt.ArrayLike) -> Array:
    """Return F''(b*) of the average robust error at the optimum.

    An offset t costs F'' t^2 / 2 to second order. It is
    phi(z_-) sqrt(m^2 + (K^2 - 1) sigma^2 ln K / 2) / (K sigma^3) for K >= 1.

    Args:
        margin: robust margin m, > 0 where K = 1; all arguments broadcast.
        sigma: standard deviation of class -1, > 0.
        K: ratio of the standard deviations, > 0; K < 1 exchanges the classes.

    Raises:
        InputError: an argument is outside its domain.
    """
    s = _Widths.of(margin, sigma, K)
    density = np.exp(-(s.z_minus**2) / 2) / np.sqrt(2 * np.pi)
    return np.asarray(density * s.root / ((1 + s.excess) * s.sigma**3))


def offset_cost(
    offset: npt.ArrayLike, margin: npt.ArrayLike, sigma: npt.ArrayLike, K: npt.ArrayLike
) -> Array:
    """Return F(b* + t) - F(b*), what an offset t adds to the average robust error, to full relative accuracy.

    F' = (narrow - wide) / 2 with the densities of the two classes at the threshold, and narrow / wide =
    exp(g) with g = 2 root t / (K sigma^2) - (K^2 - 1) t^2 / (2 K^2 sigma^2), 0 at the optimum: the integral
    of -expm1(-g) narrow / 2 has no cancellation up to the second root of g. For |t| up to about 30 sigma.

    Args:
        offset: t, any sign; all arguments broadcast.
        margin: robust margin m, > 0 where K = 1.
        sigma: standard deviation of class -1, > 0.
        K: ratio of the standard deviations, > 0; K < 1 exchanges the classes.

    Raises:
        InputError: an argument is outside its domain.
    """
    s = _Widths.of(margin, sigma, K)
    t = s.sign * check_array("offset", offset, low=-np.inf) / s.sigma
    nodes = (np.arange(PIECES)[:, None] + (NODES + 1) / 2).ravel() / PIECES
    x, excess = t[..., None] * nodes, s.excess[..., None]
    ratio, kappa = 1 + excess, excess * (2 + excess)
    g = 2 * (s.root / s.sigma)[..., None] * x / ratio - kappa * (x / ratio) ** 2 / 2
    density = np.exp(-((s.z_minus[..., None] + x) ** 2) / 2) / np.sqrt(2 * np.pi)
    return np.asarray((-np.expm1(-g) * density) @ np.tile(WEIGHTS, PIECES) * t / (4 * PIECES))
