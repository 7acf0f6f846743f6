"""Class errors of linear classifiers with several classes, and the link to measured error rates."""

import numpy as np
import numpy.typing as npt
from scipy.integrate import quad
from scipy.special import ndtr, ndtri
from scipy.stats import multivariate_normal

from theory.common.inputs import InputError, Radius, check_radius
from theory.gaussian.adversary import dual_norm

__all__ = ["class_error", "error_bounds", "pair_z_scores", "variance_ratio"]

Array = npt.NDArray[np.float64]


def pair_z_scores(
    weights: npt.ArrayLike,
    bias: npt.ArrayLike,
    mean: npt.ArrayLike,
    covariance: npt.ArrayLike,
    label: int,
    eps: Radius = 0.0,
    norm: str = "linf",
) -> tuple[Array, Array]:
    """Return the z-score of losing to each other class, and the correlation of those pairwise margins.

    Class k is robustly right at x iff every margin (w_k - w_j).x + b_k - b_j exceeds eps times the dual norm
    of w_k - w_j: the attacks on different classes need not be the same.

    Args:
        weights: a row for each class, shape (C, d).
        bias: shape (C,).
        mean: mean of the class, shape (d,).
        covariance: of the class, shape (d, d), or sigma^2 of sigma^2 I as a number.
        label: k, from 0 to C - 1.
        eps: radius; 0 gives natural errors.
        norm: linf, l2 or l1.

    Returns:
        z: shape (C - 1,), in the order of the other classes; correlation: shape (C - 1, C - 1).

    Raises:
        InputError: shapes do not fit, or a margin has no variance.
    """
    W, b, mu = (np.asarray(v, np.float64) for v in (weights, bias, mean))
    S = np.asarray(covariance, np.float64)
    S = S * np.eye(len(mu)) if S.ndim == 0 else S
    if W.ndim != 2 or b.shape != W.shape[:1] or mu.shape != W.shape[1:] or not 0 <= label < len(W):
        raise InputError(
            f"weights (C, d), bias (C,), mean (d,) and label < C must fit, got {W.shape}, "
            f"{b.shape}, {mu.shape} and {label}"
        )
    eps = check_radius("eps", eps)
    others = [j for j in range(len(W)) if j != label]
    D = W[label] - W[others]
    C = D @ S @ D.T
    deviation = np.sqrt(np.diag(C))
    if not (deviation > 0).all():
        raise InputError("each pairwise margin must have a positive variance")
    taken = np.array([dual_norm(row, norm) for row in D])
    z = -(D @ mu + b[label] - b[others] - eps * taken) / deviation
    return z, C / np.outer(deviation, deviation)


def error_bounds(z: npt.ArrayLike) -> tuple[float, float]:
    """Return the largest pairwise error and their sum, between which the class error lies."""
    errors = ndtr(np.asarray(z, np.float64))
    return float(errors.max()), float(errors.sum())


def class_error(z: npt.ArrayLike, correlation: npt.ArrayLike) -> float:
    """Return the exact class error: the chance that some pairwise margin is lost.

    1 - P(all margins kept), a multivariate normal probability: closed for one other class, one integral for
    two (accurate to about 1e-14), scipy's quasi-Monte Carlo to about 1e-6 for more (1e-4 where
    the correlation is singular).

    Args:
        z: z-scores of `pair_z_scores`, shape (C - 1,).
        correlation: its correlation, shape (C - 1, C - 1).
    """
    u, R = np.asarray(z, np.float64), np.asarray(correlation, np.float64)
    if len(u) == 1:
        return float(ndtr(u[0]))
    if len(u) == 2:
        return _either(float(u[0]), float(u[1]), float(R[0, 1]))
    accuracy = {"maxpts": 10**6, "abseps": 1e-7, "releps": 1e-7, "rng": np.random.default_rng(0)}
    return float(1 - multivariate_normal.cdf(-u, np.zeros(len(u)), R, allow_singular=True, **accuracy))


def _either(a: float, b: float, r: float) -> float:
    """Return P(X < a or Y < b) for standard normal X, Y of correlation r, without cancellation.

    Phi(a) + P(X > a, Y < b), the second part as an integral over X.
    """
    a, b = max(a, b), min(a, b)
    rest = np.sqrt(max(1 - r * r, 0.0))
    if rest < 1e-12:
        return float(ndtr(a)) if r > 0 else float(min(1.0, ndtr(a) + ndtr(b)))

    def density(x: float) -> float:
        return float(np.exp(-x * x / 2) / np.sqrt(2 * np.pi) * ndtr((b - r * x) / rest))

    peak = b * r  # where most of Y < b lies
    ends = sorted({a, max(a, peak), max(a, peak) + 3, max(a, peak) + 40})
    extra = sum(
        quad(density, low, high, epsabs=0, epsrel=1e-13, limit=200)[0]
        for low, high in zip(ends, ends[1:], strict=False)
    )
    return float(ndtr(a) + extra)


def variance_ratio(natural: tuple[float, float], robust: tuple[float, float]) -> float:
    """Return K from the natural and robust errors of one fixed linear classifier, whatever its bias.

    z_rob - z_nat = eps rho / (width of the class), so K is the ratio of this difference in class -1 to that
    in class +1 (ours). For a network it is an approximation: Gaussian margins with a constant gradient.

    Args:
        natural: natural errors of class +1 and -1, in (0, 1).
        robust: robust errors, each larger than the natural one.

    Raises:
        InputError: an error is not in (0, 1), or a robust one is not larger.
    """
    for before, after in zip(natural, robust, strict=True):
        if not 0 < before < after < 1:
            raise InputError(f"errors must satisfy 0 < natural < robust < 1, got {before!r} and {after!r}")
    plus, minus = (float(ndtri(r) - ndtri(n)) for n, r in zip(natural, robust, strict=True))
    return minus / plus
