"""Many classes of one covariance under nearest-mean: which one is the worst, and by how much (ours).

x of class k is N(mu_k, sigma^2 I). The adversary moves x by at most eps in l2. A point is robustly
right iff it lies eps inside its cell, that is on the right side of every face by more than eps.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import log_ndtr, ndtr

from theory.common.inputs import InputError, check_array, check_count, check_real
from theory.gaussian.normal import normal_difference
from theory.variants.multiclass import class_error, error_bounds, pair_z_scores
from theory.variants.plane_cells import places_in_plane, plane_error

__all__ = [
    "ClassError",
    "PairGap",
    "means_of_distances",
    "nearest_mean_errors",
    "nearest_neighbours",
    "orthogonal_neighbours",
    "pair_gap",
    "row_errors",
    "simplex",
    "wedge",
]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ClassError:
    """Robust error of a class, between its largest pairwise error and their sum.

    Args:
        R: exact robust error.
        lower: largest pairwise error.
        union: sum of the pairwise errors.
    """

    R: float
    lower: float
    union: float


def nearest_mean_errors(
    means: npt.ArrayLike, sigma: float, eps: float = 0.0, norm: str = "l2"
) -> list[ClassError]:
    """Return the robust error of each class under nearest-mean classification.

    Pairwise z-scores are -(delta_kj / 2 - eps) / sigma for l2, delta_kj the distance of two means. Exact up
    to three classes; beyond, to about 1e-8 for means in a plane (`theory.variants.plane_cells`), and else to
    about 1e-6 (`theory.variants.multiclass.class_error`), or 1e-4 if they span less than C - 1 dimensions.

    Args:
        means: mu_k, shape (C, d).
        sigma: standard deviation of every class, > 0.
        eps: radius, >= 0.
        norm: linf, l2 or l1.

    Raises:
        InputError: an argument is outside its domain, or two means are equal.

    Example:
        >>> [round(c.R, 4) for c in nearest_mean_errors([[-2.0], [0.0], [2.0]], 1.0)]
        [0.1587, 0.3173, 0.1587]
    """
    mu = check_array("means", means, low=-np.inf)
    if mu.ndim != 2 or len(mu) < 2:
        raise InputError(f"means must have shape (C, d) with C >= 2, got shape {mu.shape}")
    check_real("sigma", sigma, low=0, strict=True)
    bias = -(mu**2).sum(axis=1) / 2
    plane = places_in_plane(mu) if norm == "l2" and len(mu) > 3 else None
    out = []
    for k in range(len(mu)):
        z, correlation = pair_z_scores(mu, bias, mu[k], sigma**2, k, eps, norm)
        lower, union = error_bounds(z)
        if plane is None:
            error = class_error(z, correlation)
        else:
            apart = np.delete(plane - plane[k], k, axis=0)
            error = plane_error(apart / np.linalg.norm(apart, axis=1, keepdims=True), -z)
        out.append(ClassError(error, lower, union))
    return out


def nearest_neighbours(means: npt.ArrayLike, tolerance: float = 1e-9) -> tuple[Array, npt.NDArray[np.int64]]:
    """Return the distance of the nearest other mean of each class, and how many means are that near.

    As sigma falls the worst classes are those of the closest pair, and the number breaks ties.

    Args:
        means: mu_k, shape (C, d).
        tolerance: relative difference of distances that count as equal.

    Returns:
        distance: shape (C,); number: shape (C,).
    """
    mu = np.asarray(means, np.float64)
    distance = np.linalg.norm(mu[:, None] - mu[None], axis=2) + np.diag(np.full(len(mu), np.inf))
    nearest = distance.min(axis=1)
    return nearest, (distance <= nearest[:, None] * (1 + tolerance)).sum(axis=1)


def means_of_distances(distances: npt.ArrayLike) -> Array:
    """Return means with the given distances, centred, by classical scaling (Torgerson, 1952).

    Where no points have these distances, those nearest to them in the sense of their inner products.

    Args:
        distances: of each pair of classes, symmetric with zeros on the diagonal, shape (C, C).

    Returns:
        shape (C, C - 1).

    Raises:
        InputError: the distances are no such table.

    Example:
        >>> means = means_of_distances([[0, 3, 4], [3, 0, 5], [4, 5, 0]])
        >>> [round(float(np.linalg.norm(means[0] - means[j])), 10) for j in (1, 2)]
        [3.0, 4.0]
    """
    D = check_array("distances", distances, low=0)
    if D.ndim != 2 or D.shape[0] != D.shape[1] or len(D) < 2 or not np.allclose(D, D.T) or np.diag(D).any():
        raise InputError(f"distances must be symmetric, zero on the diagonal, of shape (C, C), got {D.shape}")
    centre = np.eye(len(D)) - 1 / len(D)
    values, vectors = np.linalg.eigh(-centre @ D**2 @ centre / 2)
    largest = slice(None, 0, -1)  # without the smallest, that of the constant vector
    return np.asarray(vectors[:, largest] * np.sqrt(np.maximum(values[largest], 0)))


def row_errors(count: int, distance: float, sigma: float, eps: float = 0.0) -> Array:
    """Return the robust errors of a row of classes under nearest-mean: inner ones have twice that of an end.

    Args:
        count: number of classes, >= 2.
        distance: of neighbours, > 0.
        sigma: standard deviation, > 0.
        eps: radius, from 0 to distance / 2, beyond which an inner class has no robust point.

    Returns:
        shape (count,).

    Raises:
        InputError: an argument is outside its domain.
    """
    check_count("count", count, low=2)
    half = check_real("distance", distance, low=0, strict=True) / 2
    check_real("sigma", sigma, low=0, strict=True)
    end = ndtr(-(half - check_real("eps", eps, low=0, high=half)) / sigma)
    return np.asarray(np.where(np.isin(np.arange(count), (0, count - 1)), end, 2 * end))


@dataclass(frozen=True)
class PairGap:
    """How the errors of two classes with one neighbour each compare.

    Args:
        gap: R_k - R_l.
        ratio: R_k / R_l; it falls with eps at every eps.
        eps_of_largest_gap: (delta_k + delta_l) / 4, up to which the gap grows.
        largest_gap: 2 Phi((delta_l - delta_k) / (4 sigma)) - 1.
    """

    gap: float
    ratio: float
    eps_of_largest_gap: float
    largest_gap: float


def pair_gap(delta_k: float, delta_l: float, sigma: float, eps: float = 0.0) -> PairGap:
    """Return the gap and the ratio of two classes whose nearest neighbours are at delta_k and delta_l.

    R_k = Phi(-(delta_k / 2 - eps) / sigma). "The ratio grows with eps" is false at every eps; the gap grows
    until eps = (delta_k + delta_l) / 4 and falls after.

    Args:
        delta_k: distance of the nearest neighbour of class k, > 0.
        delta_l: the same of class l, > 0.
        sigma: standard deviation, > 0.
        eps: l2 radius, >= 0.

    Raises:
        InputError: an argument is outside its domain.

    Example:
        >>> pair_gap(2.0, 4.0, 1.0).eps_of_largest_gap
        1.5
    """
    for name, value in (("delta_k", delta_k), ("delta_l", delta_l), ("sigma", sigma)):
        check_real(name, value, low=0, strict=True)
    check_real("eps", eps, low=0)
    k, l_ = -(delta_k / 2 - eps) / sigma, -(delta_l / 2 - eps) / sigma
    half = (delta_l - delta_k) / (4 * sigma)
    return PairGap(
        float(normal_difference(k, l_)),
        float(np.exp(log_ndtr(k) - log_ndtr(l_))),
        (delta_k + delta_l) / 4,
        float(normal_difference(half, -half)),
    )


def wedge(rho: float, al1: float, al2: float, sigma: float, eps: float = 0.0) -> ClassError:
    """Return the robust error of a class on a circle with one neighbour on each side, nearest-mean.

    The pairwise margins have correlation -cos((al1 + al2) / 2).

    Args:
        rho: radius of the circle, > 0.
        al1: angle to the neighbour on one side, in (0, pi].
        al2: angle to that on the other side.
        sigma: standard deviation, > 0.
        eps: l2 radius, >= 0.

    Raises:
        InputError: an argument is outside its domain.
    """
    check_real("rho", rho, low=0, strict=True)
    check_real("sigma", sigma, low=0, strict=True)
    check_real("eps", eps, low=0)
    angles = np.array(
        [check_real(n, v, low=0, high=np.pi, strict=True) for n, v in (("al1", al1), ("al2", al2))]
    )
    z = -(rho * np.sin(angles / 2) - eps) / sigma
    r = -np.cos(angles.sum() / 2)
    lower, union = error_bounds(z)
    return ClassError(class_error(z, np.array([[1.0, r], [r, 1.0]])), lower, union)


def orthogonal_neighbours(rho: float, psi: float, count: int, sigma: float, eps: float = 0.0) -> float:
    """Return the robust error of a class on a sphere with ``count`` neighbours in orthogonal directions.

    1 - int phi(x) Phi((a + sin(psi/2) x) / cos(psi/2))^count dx, a = (delta/2 - eps) / sigma and
    delta = 2 rho sin(psi / 2).

    Args:
        rho: radius of the sphere, > 0.
        psi: polar angle of the neighbours, in (0, pi).
        count: number of neighbours, >= 1.
        sigma: standard deviation, > 0.
        eps: l2 radius, >= 0.

    Raises:
        InputError: an argument is outside its domain.
    """
    for name, value in (("rho", rho), ("sigma", sigma)):
        check_real(name, value, low=0, strict=True)
    if not 0 < check_real("psi", psi, low=0) < np.pi:
        raise InputError(f"psi must be in (0, pi), got {psi:g}")
    check_count("count", count, low=1)
    a = (rho * np.sin(psi / 2) - check_real("eps", eps, low=0)) / sigma
    return _any_lost(a / np.cos(psi / 2), np.tan(psi / 2), count)


def simplex(C: int, delta: float, sigma: float, eps: float = 0.0) -> float:
    """Return the robust error of every class of a regular simplex.

    1 - int phi(x) Phi(sqrt(2) a + x)^(C-1) dx with a = (delta / 2 - eps) / sigma. All classes have it
    at every eps: without unequal distances, variances or priors there is no disparity.

    Args:
        C: number of classes, >= 2.
        delta: distance of two means, > 0.
        sigma: standard deviation, > 0.
        eps: l2 radius, >= 0.

    Raises:
        InputError: an argument is outside its domain.

    Example:
        >>> round(simplex(10, 4.0, 1.0, 0.5), 10)
        0.2899883634
    """
    check_count("C", C, low=2)
    a = check_real("delta", delta, low=0, strict=True) / 2 - check_real("eps", eps, low=0)
    return _any_lost(np.sqrt(2) * a / check_real("sigma", sigma, low=0, strict=True), 1.0, C - 1)


def _any_lost(level: float, slope: float, count: int) -> float:
    """Return int phi(x) (1 - Phi(level + slope x)^count) dx for slope > 0.

    By the trapezoid rule, whose error on an analytic integrand of this decay falls exponentially in 1 / step;
    1 - Phi^count by expm1, so that small errors keep their digits.
    """
    step = min(1 / 32, 1 / (16 * slope))
    x = np.arange(-40, 40, step)
    lost = -np.expm1(count * log_ndtr(level + slope * x))
    return float(np.exp(-(x**2) / 2) @ lost * step / np.sqrt(2 * np.pi))
