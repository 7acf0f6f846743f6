"""Errors that no classifier, linear or not, can beat on Gaussian classes of one covariance.

After Bhagoji, Cullina and Mittal (2019), https://arxiv.org/abs/1909.12272, and Dobriban, Hassani, Hong and
Robey (2023), https://arxiv.org/abs/2006.05161, for two classes; the bounds for several classes are ours.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy.optimize import LinearConstraint, milp
from scipy.special import ndtr

from theory.common.inputs import InputError, check_real
from theory.gaussian.adversary import best_direction, dual_norm
from theory.variants.imbalance import covariance_direction

__all__ = [
    "Floor",
    "average_floor",
    "pair_distance",
    "pair_distances",
    "two_class_floor",
    "worst_class_floor",
]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Floor:
    """The smallest robust error of two classes that any classifier can have, which a linear one attains.

    Args:
        a: distance of each mean from the middle once the adversary has moved both, in standard deviations.
        R_plus: error of class +1 of the optimal classifier.
        R_minus: error of class -1.
        R: pi_+ R_plus + pi_- R_minus, which no classifier beats.
    """

    a: float
    R_plus: float
    R_minus: float
    R: float


def pair_distance(theta: npt.ArrayLike, sigma: npt.ArrayLike, eps: float, norm: str = "l2") -> float:
    """Return a = min over |z| <= eps of |theta - z| in the norm of the inverse covariance.

    For sigma^2 I and l2 it is max(0, |theta| - eps) / sigma.

    Args:
        theta: half the difference of the two class means, shape (d,).
        sigma: standard deviation of sigma^2 I, or a covariance matrix, shape (d, d).
        eps: radius of the adversary.
        norm: linf, l2 or l1.

    Raises:
        InputError: an argument is outside its domain.

    Example:
        >>> round(pair_distance([3.0, 4.0], 2.0, 1.0), 12)
        2.0
    """
    t, S = np.asarray(theta, np.float64), np.asarray(sigma, np.float64)
    check_real("eps", eps, low=0)
    dual_norm(t, norm)  # refuses an unknown norm
    if not np.isfinite(t).all():
        raise InputError(f"theta must be a vector of finite numbers, got {theta!r:.60}")
    size = {"linf": np.abs(t).max(), "l2": np.linalg.norm(t), "l1": np.abs(t).sum()}[norm]
    if size <= eps:
        return 0.0
    if S.ndim == 0:
        check_real("sigma", float(S), low=0, strict=True)
        return float(max(0.0, best_direction(t, eps, norm).margin) / S)
    return covariance_direction(t, S, eps, norm)[1]


def two_class_floor(
    theta: npt.ArrayLike, sigma: npt.ArrayLike, eps: float, norm: str = "l2", prior: float = 0.5
) -> Floor:
    """Return the smallest robust error of any classifier of N(theta, S) against N(-theta, S).

    pi_+ Phi(-a + L / (2a)) + pi_- Phi(-a - L / (2a)) with L = ln(pi_- / pi_+); the linear classifier of
    direction S^-1 (theta - z), z the nearest point of the ball, attains it. At a = 0 it is the smaller prior.

    Args:
        theta: mean of class +1, shape (d,).
        sigma: standard deviation, or a covariance matrix, shape (d, d), of both classes.
        eps: radius.
        norm: linf, l2 or l1.
        prior: pi_+, in (0, 1).

    Raises:
        InputError: an argument is outside its domain.

    Example:
        >>> round(two_class_floor([1.0], 1.0, 0.3).R, 10)
        0.2419636522
    """
    check_real("prior", prior, low=0, high=1, strict=True)
    if prior == 1:
        raise InputError("prior must be below 1, got 1")
    a = pair_distance(theta, sigma, eps, norm)
    L = float(np.log1p(-prior) - np.log(prior))
    if a == 0:
        plus = 0.0 if prior >= 0.5 else 1.0
        return Floor(0.0, plus, 1 - plus, min(prior, 1 - prior))
    plus, minus = float(ndtr(-a + L / (2 * a))), float(ndtr(-a - L / (2 * a)))
    return Floor(a, plus, minus, prior * plus + (1 - prior) * minus)


def pair_distances(means: npt.ArrayLike, sigma: npt.ArrayLike, eps: float, norm: str = "l2") -> Array:
    """Return a_ij of each pair of classes, shape (C, C), with inf on the diagonal.

    Args:
        means: of the classes, shape (C, d).
        sigma: standard deviation, or a covariance matrix, shape (d, d), of every class.
        eps: radius.
        norm: linf, l2 or l1.

    Raises:
        InputError: an argument is outside its domain.
    """
    mu = np.asarray(means, np.float64)
    if mu.ndim != 2 or len(mu) < 2:
        raise InputError(f"means must have shape (C, d) with C >= 2, got shape {mu.shape}")
    out = np.full((len(mu), len(mu)), np.inf)
    for i, j in combinations(range(len(mu)), 2):
        out[i, j] = out[j, i] = pair_distance((mu[i] - mu[j]) / 2, sigma, eps, norm)
    return out


def worst_class_floor(means: npt.ArrayLike, sigma: npt.ArrayLike, eps: float, norm: str = "l2") -> float:
    """Return max over pairs of Phi(-a_ij): the worst class of any classifier has at least this robust error.

    R_i + R_j >= 2 Phi(-a_ij) for each pair, because an adversary that moves the two by constant shifts
    leaves two normal laws whose total variation distance is 2 Phi(a_ij) - 1.

    Args:
        means: of the classes, shape (C, d).
        sigma: standard deviation, or a covariance matrix, of every class.
        eps: radius.
        norm: linf, l2 or l1.

    Raises:
        InputError: an argument is outside its domain.

    Example:
        >>> round(worst_class_floor([[0, 0], [2, 0], [0, 3]], 1.0, 0.3), 10)
        0.2419636522
    """
    return float(ndtr(-pair_distances(means, sigma, eps, norm).min()))


def average_floor(means: npt.ArrayLike, sigma: npt.ArrayLike, eps: float, norm: str = "l2") -> float:
    """Return (2 / C) max over matchings of sum Phi(-a_ij): a bound of the average robust error.

    The classes have equal priors; a matching pairs each class with at most one other, so that the bounds of
    its pairs add up. The heaviest one is a small integer program.

    Args:
        means: of the classes, shape (C, d).
        sigma: standard deviation, or a covariance matrix, of every class.
        eps: radius.
        norm: linf, l2 or l1.

    Raises:
        InputError: an argument is outside its domain.

    Example:
        >>> round(average_floor([[0, 0], [2, 0], [0, 3], [5, 5]], 1.0, 0.3), 10)
        0.1251643938
    """
    floors = ndtr(-pair_distances(means, sigma, eps, norm))
    C = len(floors)
    pairs = list(combinations(range(C), 2))
    weights = np.array([floors[pair] for pair in pairs])
    belongs = np.array([[float(k in pair) for pair in pairs] for k in range(C)])
    largest = max(weights.max(), np.finfo(float).tiny)  # the solver's tolerances are absolute
    chosen = milp(
        -weights / largest,
        integrality=np.ones(len(pairs)),
        bounds=(0, 1),
        constraints=LinearConstraint(belongs, ub=1),
        options={"mip_rel_gap": 0},
    ).x
    return float(2 / C * weights[np.round(chosen) == 1].sum())
