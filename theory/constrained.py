"""The smallest average error under a bound on the gap between the classes: the problem of FRL and its kin.

Along one unit direction w, with margins and errors as in `theory.fairness`. The problem is that of Xu et al.
(2021); the solutions are ours.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq, linprog
from scipy.special import ndtr

from theory.fairness import class_errors, fair_bias, reweight_odds
from theory.inputs import InputError, check_real
from theory.optimal import beats_constants, optimal_bias

__all__ = [
    "FRLSolution",
    "FairMixture",
    "fair_mixture",
    "frl",
    "natural_constraint",
]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class FRLSolution:
    """Solution of min average error such that each class error exceeds the average by at most tau.

    Args:
        bias: the optimal b.
        z: z-scores of the classes there.
        active: whether the constraint binds.
        multiplier: lambda of |R_+ - R_-| <= 2 tau; the phi_+ of the FRL paper is 2 lambda.
        objective: average error.
        duality_gap: whether the Lagrangian at this multiplier has a smaller value elsewhere (at a constant
            classifier), so that dual ascent does not settle here.
    """

    bias: float
    z: tuple[float, float]
    active: bool
    multiplier: float
    objective: float
    duality_gap: bool


def frl(margin: float, sigma: float, K: float, tau: float) -> FRLSolution:
    """Solve the problem of Fair-Robust-Learning (Xu et al., 2021) on one direction, for equal priors.

    With margin m and constraints on robust errors; the constraint is |R_+ - R_-| <= 2 tau.

    Args:
        margin: m, any sign.
        sigma: standard deviation of class -1, > 0.
        K: ratio of the standard deviations, > 0.
        tau: allowed excess of a class error, from 0 to 1/2.

    Raises:
        InputError: an argument is outside its domain, or K = 1 with m <= 0, where the optimum is not unique.
    """
    check_real("margin", margin, low=-np.inf)
    check_real("sigma", sigma, low=0, strict=True)
    check_real("K", K, low=0, strict=True)
    check_real("tau", tau, low=0, high=0.5)
    if K == 1 and margin <= 0:
        raise InputError(f"at K = 1 the margin must be > 0, got {margin:g}")
    best, fair = float(optimal_bias(margin, sigma, K)), float(fair_bias(margin, K))
    active = abs(_gap(best, margin, sigma, K)) > 2 * tau
    bias = _gap_bias(margin, sigma, K, np.sign(K - 1) * 2 * tau, (best, fair)) if active else best
    plus, minus = (float(z) for z in class_errors(bias, margin, sigma, K))
    log_odds = float(reweight_odds(bias, margin, sigma, K)) if active else 0.0
    multiplier = abs(np.tanh(log_odds / 2)) / 2  # |r - 1| / (2 (r + 1))
    return FRLSolution(
        bias=bias,
        z=(plus, minus),
        active=bool(active),
        multiplier=float(multiplier),
        objective=float((ndtr(plus) + ndtr(minus)) / 2),
        duality_gap=bool(active and not beats_constants(plus, minus, log_odds)),
    )


def natural_constraint(mu: float, margin: float, sigma: float, K: float, tau: float) -> tuple[float, float]:
    """Return (b, average robust error) of the best bias with natural errors at most 2 tau apart, for K > 1.

    On one direction. Unlike under a robust constraint the best direction can be another one than without it:
    1 / sqrt(d) is locally best if eps < 2 eta / (K + 1), and a basis vector can beat it beyond.

    Args:
        mu: natural margin of the direction, > 0.
        margin: its robust margin m <= mu.
        sigma: standard deviation of class -1, > 0.
        K: ratio of the standard deviations, > 1.
        tau: allowed excess of a natural class error over the average, from 0 to 1/2.

    Raises:
        InputError: an argument is outside its domain.
    """
    check_real("mu", mu, low=0, strict=True)
    check_real("margin", margin, low=-np.inf, high=mu)
    check_real("sigma", sigma, low=0, strict=True)
    check_real("K", K, low=1, strict=True)
    check_real("tau", tau, low=0, high=0.5)
    reach = 40 * K * sigma + mu
    ends = [_gap_bias(mu, sigma, K, gap, (-reach, reach)) for gap in (2 * tau, -2 * tau)]
    best = min(max(float(optimal_bias(margin, sigma, K)), ends[0]), ends[1])
    candidates = [best, *ends]
    errors = [float(sum(map(ndtr, class_errors(b, margin, sigma, K)))) / 2 for b in candidates]
    chosen = int(np.argmin(errors))
    return candidates[chosen], errors[chosen]


@dataclass(frozen=True)
class FairMixture:
    """A random choice among linear classifiers of one direction.

    Args:
        biases: b of each.
        weights: probability of each, summing to 1.
        natural: expected natural errors of (+1, -1), equal to each other.
        robust: expected robust errors of (+1, -1), equal to each other.
    """

    biases: Array
    weights: Array
    natural: tuple[float, float]
    robust: tuple[float, float]


def fair_mixture(mu: float, margin: float, sigma: float, K: float) -> FairMixture:
    """Return the random linear classifier with equal natural and equal robust errors, and the smallest error.

    No deterministic one has both equalities (see `fair_bias`); a mixture of at most three biases has, at a
    price: it mixes in a nearly constant classifier. A linear programme over a grid of biases, so that its
    error is at most about 1e-4 above the smallest.

    Args:
        mu: natural margin, > 0.
        margin: robust margin m, from 0 to mu.
        sigma: standard deviation of class -1, > 0.
        K: ratio of the standard deviations, > 0.

    Raises:
        InputError: an argument is outside its domain.
    """
    check_real("mu", mu, low=0, strict=True)
    check_real("margin", margin, low=0, high=mu)
    check_real("sigma", sigma, low=0, strict=True)
    check_real("K", K, low=0, strict=True)
    width = max(K, 1) * sigma
    grid = np.concatenate([np.linspace(-mu - 8 * width, mu + 8 * width, 4001), [fair_bias(margin, K)]])
    natural, robust = (np.stack([ndtr(z) for z in class_errors(grid, m, sigma, K)]) for m in (mu, margin))
    equalities = np.stack([natural[0] - natural[1], robust[0] - robust[1], np.ones_like(grid)])
    found = linprog(robust.mean(axis=0), A_eq=equalities, b_eq=[0, 0, 1], bounds=(0, None))
    used = found.x > 1e-9
    weights = found.x[used] / found.x[used].sum()
    means = [tuple(float(v) for v in errors[:, used] @ weights) for errors in (natural, robust)]
    return FairMixture(grid[used], weights, (means[0][0], means[0][1]), (means[1][0], means[1][1]))


def _gap(bias: float, margin: float, sigma: float, K: float) -> float:
    plus, minus = class_errors(bias, margin, sigma, K)
    return float(ndtr(plus) - ndtr(minus))


def _gap_bias(margin: float, sigma: float, K: float, gap: float, ends: tuple[float, float]) -> float:
    """Return the bias between ``ends`` at which R_+ - R_- = gap; the gap falls as the bias grows."""
    if gap == 0:
        return float(fair_bias(margin, K))
    low, high = sorted(ends)
    if _gap(low, margin, sigma, K) <= gap:
        return low
    if _gap(high, margin, sigma, K) >= gap:
        return high
    return float(brentq(lambda b: _gap(b, margin, sigma, K) - gap, low, high, xtol=1e-15, rtol=1e-15))
