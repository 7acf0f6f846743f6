"""The smallest average error under a bound on the gap between the classes: the problem of FRL and its kin.

Along one unit direction w, with margins and errors as in `theory.gaussian.fairness`. The problem is that of
Xu et al. (2021); the solutions are ours.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog
from scipy.optimize.elementwise import find_root
from scipy.special import ndtr

from theory.common.inputs import InputError, check_array, check_count, check_real
from theory.gaussian.fairness import bias_z_scores, fair_bias, reweight_odds
from theory.gaussian.optimal import beats_constants, optimal_bias

__all__ = [
    "FRLSolution",
    "FairMixture",
    "ParetoFront",
    "fair_mixture",
    "frl",
    "natural_constraint",
    "pareto_front",
]

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class FRLSolution:
    """Solutions of min average error such that each class error exceeds the average by at most tau.

    Each field has the shape of the settings, broadcast.

    Args:
        bias: the optimal b.
        z: z-scores of the classes there.
        active: whether the constraint binds.
        multiplier: lambda of |R_+ - R_-| <= 2 tau; the phi_+ of the FRL paper is 2 lambda.
        objective: average error.
        duality_gap: whether the Lagrangian at this multiplier has a smaller value elsewhere (at a constant
            classifier), so that dual ascent does not settle here.
    """

    bias: Array
    z: tuple[Array, Array]
    active: Flags
    multiplier: Array
    objective: Array
    duality_gap: Flags


def frl(margin: npt.ArrayLike, sigma: npt.ArrayLike, K: npt.ArrayLike, tau: npt.ArrayLike) -> FRLSolution:
    """Solve the problem of Fair-Robust-Learning (Xu et al., 2021) on one direction, for equal priors.

    With margin m and constraints on robust errors; the constraint is |R_+ - R_-| <= 2 tau.

    Args:
        margin: m, any sign; all arguments broadcast.
        sigma: standard deviation of class -1, > 0.
        K: ratio of the standard deviations, > 0.
        tau: allowed excess of a class error, from 0 to 1/2.

    Raises:
        InputError: an argument is outside its domain, or K = 1 with m <= 0, where the optimum is not unique.

    >>> best = frl(1.0, 1.0, 2.0, [0.02, 0.5])
    >>> best.active.tolist(), best.objective.round(4).tolist()
    ([True, False], [0.2462, 0.2297])
    """
    m, sigma, K, tau = np.broadcast_arrays(
        check_array("margin", margin, low=-np.inf),
        check_array("sigma", sigma, low=0, strict=True),
        check_array("K", K, low=0, strict=True),
        check_array("tau", tau, low=0, high=0.5),
    )
    for wrong in m[(K == 1) & (m <= 0)]:
        raise InputError(f"at K = 1 the margin must be > 0, got {wrong:g}")
    best = optimal_bias(m, sigma, K)
    active = np.abs(_gap(best, m, sigma, K)) > 2 * tau
    bias = np.where(active, _gap_bias(m, sigma, K, np.sign(K - 1) * 2 * tau, best, fair_bias(m, K)), best)
    plus, minus = bias_z_scores(bias, m, sigma, K)
    log_odds = np.where(active, reweight_odds(bias, m, sigma, K), 0.0)
    return FRLSolution(
        bias=bias,
        z=(plus, minus),
        active=active,
        multiplier=np.abs(np.tanh(log_odds / 2)) / 2,  # |r - 1| / (2 (r + 1))
        objective=(ndtr(plus) + ndtr(minus)) / 2,
        duality_gap=active & ~beats_constants(plus, minus, log_odds),
    )


def natural_constraint(
    mu: npt.ArrayLike, margin: npt.ArrayLike, sigma: npt.ArrayLike, K: npt.ArrayLike, tau: npt.ArrayLike
) -> tuple[Array, Array]:
    """Return (b, average robust error) of the best bias with natural errors at most 2 tau apart, for K > 1.

    On one direction. Unlike under a robust constraint the best direction can be another one than without it:
    1 / sqrt(d) is locally best if eps < 2 eta / (K + 1), and a basis vector can beat it beyond.

    Args:
        mu: natural margin of the direction, > 0; all arguments broadcast.
        margin: its robust margin m <= mu.
        sigma: standard deviation of class -1, > 0.
        K: ratio of the standard deviations, > 1.
        tau: allowed excess of a natural class error over the average, from 0 to 1/2.

    Raises:
        InputError: an argument is outside its domain.
    """
    mu, m, sigma, K, tau = np.broadcast_arrays(
        check_array("mu", mu, low=0, strict=True),
        check_array("margin", margin, low=-np.inf),
        check_array("sigma", sigma, low=0, strict=True),
        check_array("K", K, low=1, strict=True),
        check_array("tau", tau, low=0, high=0.5),
    )
    for wrong in m[m > mu]:
        raise InputError(f"margin must be at most mu, got {wrong:g}")
    bracket = 40 * K * sigma + mu
    ends = [_gap_bias(mu, sigma, K, gap, -bracket, bracket) for gap in (2 * tau, -2 * tau)]
    best = np.minimum(np.maximum(optimal_bias(m, sigma, K), ends[0]), ends[1])
    candidates = np.stack([best, *ends])  # the average error has one minimum, but falls again far above it
    errors = sum(ndtr(z) for z in bias_z_scores(candidates, m, sigma, K)) / 2
    chosen = errors.argmin(axis=0)[None]
    bias, error = (np.take_along_axis(v, chosen, axis=0)[0] for v in (candidates, errors))
    return bias, error


@dataclass(frozen=True)
class ParetoFront:
    """The classifiers of one direction that no other beats in both average and gap of the robust errors.

    Args:
        bias: b, from the smallest average to equal errors, shape (n,).
        plus: error of class +1, shape (n,).
        minus: error of class -1, shape (n,).
        reachable: whether reweighting the classes has it as its optimum, shape (n,).
    """

    bias: Array
    plus: Array
    minus: Array
    reachable: Flags

    @property
    def average(self) -> Array:
        """Average error, growing along the front."""
        return (self.plus + self.minus) / 2

    @property
    def gap(self) -> Array:
        """|R_+ - R_-|, falling along the front to 0."""
        return np.abs(self.plus - self.minus)


def pareto_front(margin: float, sigma: float, K: float, n: int = 101) -> ParetoFront:
    """Return n points of the front of average error against gap: the biases from b* to the fair one (ours).

    Every bias is on the front of R_+ against R_-, the line K z_+ + z_- = -2m / sigma in z-scores. Reweighting
    reaches the part below the jump of `theory.gaussian.fairness.reachable_bias`; Remargin and both reach
    all of it.

    Args:
        margin: m, any sign (> 0 at K = 1).
        sigma: standard deviation of class -1, > 0.
        K: ratio of the standard deviations, > 0.
        n: points, at least 2.

    Raises:
        InputError: an argument is outside its domain.

    >>> front = pareto_front(1.0, 1.0, 2.0, n=3)
    >>> front.gap.round(3).tolist(), front.average.round(3).tolist()
    ([0.244, 0.13, 0.0], [0.23, 0.235, 0.252])
    """
    best = float(frl(margin, sigma, K, 0.5).bias)
    bias = np.linspace(best, float(fair_bias(margin, K)), check_count("n", n, low=2))
    z = bias_z_scores(bias, margin, sigma, K)
    reachable = beats_constants(*z, reweight_odds(bias, margin, sigma, K))
    return ParetoFront(bias, ndtr(z[0]), ndtr(z[1]), reachable)


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

    >>> [round(error, 3) for error in fair_mixture(1.0, 0.5, 1.0, 2.0).robust]
    [0.371, 0.371]
    """
    check_real("mu", mu, low=0, strict=True)
    check_real("margin", margin, low=0, high=mu)
    check_real("sigma", sigma, low=0, strict=True)
    check_real("K", K, low=0, strict=True)
    width = max(K, 1) * sigma
    grid = np.concatenate([np.linspace(-mu - 8 * width, mu + 8 * width, 4001), [fair_bias(margin, K)]])
    natural, robust = (np.stack([ndtr(z) for z in bias_z_scores(grid, m, sigma, K)]) for m in (mu, margin))
    equalities = np.stack([natural[0] - natural[1], robust[0] - robust[1], np.ones_like(grid)])
    found = linprog(robust.mean(axis=0), A_eq=equalities, b_eq=[0, 0, 1], bounds=(0, None))
    used = found.x > 1e-9
    weights = found.x[used] / found.x[used].sum()
    means = [tuple(float(v) for v in errors[:, used] @ weights) for errors in (natural, robust)]
    return FairMixture(grid[used], weights, (means[0][0], means[0][1]), (means[1][0], means[1][1]))


def _gap(bias: npt.ArrayLike, margin: Array, sigma: Array, K: Array) -> Array:
    plus, minus = bias_z_scores(bias, margin, sigma, K)
    return np.asarray(ndtr(plus) - ndtr(minus))


def _gap_bias(margin: Array, sigma: Array, K: Array, gap: Array, first: Array, second: Array) -> Array:
    """Return the bias between two ends at which R_+ - R_- = gap; the gap falls as the bias grows.

    Where it is not reached between them, the nearer end.
    """
    low, high = np.minimum(first, second), np.maximum(first, second)
    above = _gap(low, margin, sigma, K) <= gap
    below = _gap(high, margin, sigma, K) >= gap
    between = ~(above | below | (gap == 0))

    def excess(b: Array, m: Array, s: Array, k: Array, g: Array, inside: Flags) -> Array:
        return np.where(inside, _gap(b, m, s, k) - g, b)  # an easy root where none is sought

    ends = np.where(between, low, -1.0), np.where(between, high, 1.0)
    found = find_root(excess, ends, args=(margin, sigma, K, gap, between)).x
    bias = np.where(above, low, np.where(below, high, found))
    return np.where(gap == 0, fair_bias(margin, K), bias)
