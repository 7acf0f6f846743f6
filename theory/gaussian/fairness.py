"""Fair linear classifiers in closed form: what they cost, and which weights and radii reach them.

Everything is along one unit direction w with margins mu = w.theta (natural) and m = mu - eps rho (robust).
The class errors at bias b are Phi(-(b + m) / (K sigma)) and Phi((b - m) / sigma). The cost odds
r = omega_+ / omega_- of reweighting and the class radii of remargining move b and nothing else. All
statements are ours.
"""

import mpmath
import numpy as np
import numpy.typing as npt
from scipy.optimize.elementwise import bracket_root, find_root
from scipy.special import erfcx, log_ndtr, ndtr, ndtri

from theory.common.inputs import check_array
from theory.gaussian.bias_offset import fair_offset, offset_cost
from theory.gaussian.normal import normal_interval
from theory.gaussian.optimal import beats_constants, optimal_z_scores

__all__ = [
    "bias_z_scores",
    "critical_margin",
    "fair_bias",
    "fair_error",
    "natural_fairness_by_remargin",
    "natural_fairness_by_reweight",
    "price_of_fairness",
    "reachable_bias",
    "reweight_odds",
    "robust_fairness_by_reweight",
    "robust_gap",
]

Array = npt.NDArray[np.float64]


def bias_z_scores(
    bias: npt.ArrayLike, margin: npt.ArrayLike, sigma: npt.ArrayLike, K: npt.ArrayLike
) -> tuple[Array, Array]:
    """Return the z-scores (z_+, z_-) at a bias: the class errors are Phi of them.

    Args:
        bias: b, for a unit vector w; all arguments broadcast.
        margin: mu for natural errors, m for robust ones.
        sigma: standard deviation of class -1, > 0.
        K: ratio of the standard deviations, > 0.

    >>> [float(z) for z in bias_z_scores(0.5, 1.0, 1.0, 2.0)]
    [-0.75, -0.5]
    """
    b, m, sigma, K = (np.asarray(v, np.float64) for v in (bias, margin, sigma, K))
    return -(b + m) / (K * sigma), (b - m) / sigma


def fair_bias(margin: npt.ArrayLike, K: npt.ArrayLike) -> Array:
    """Return the bias with equal class errors, m (K - 1) / (K + 1).

    With mu in place of m the natural errors are equal. The two biases differ by eps rho (K - 1) / (K + 1), so
    no single linear classifier has both equalities unless K = 1 or eps = 0.

    >>> round(float(fair_bias(1.0, 2.0)), 4)
    0.3333
    """
    m, K = np.asarray(margin, np.float64), np.asarray(K, np.float64)
    return np.asarray(m * (K - 1) / (K + 1))


def fair_error(margin: npt.ArrayLike, sigma: npt.ArrayLike, K: npt.ArrayLike, *, log: bool = False) -> Array:
    """Return the common class error Phi(-2m / ((K + 1) sigma)) at `fair_bias`, or its logarithm.

    >>> round(float(fair_error(1.0, 1.0, 2.0)), 4)
    0.2525
    """
    m, sigma, K = (np.asarray(v, np.float64) for v in (margin, sigma, K))
    z = -2 * m / ((K + 1) * sigma)
    return np.asarray(log_ndtr(z) if log else ndtr(z))


def price_of_fairness(margin: npt.ArrayLike, sigma: npt.ArrayLike, K: npt.ArrayLike) -> Array:
    """Return by how much the average error at `fair_bias` exceeds the smallest; 0 only at K = 1.

    The ratio of the two tends to 2 K^(K/(K+1)) / (K + 1) < 2 as m grows.

    >>> round(float(price_of_fairness(1.0, 1.0, 2.0)), 4)
    0.0228
    """
    m, sigma, K = np.broadcast_arrays(*(np.asarray(v, np.float64) for v in (margin, sigma, K)))
    plus, minus = optimal_z_scores(m, sigma, K)
    fair = fair_error(m, sigma, K, log=True)
    smallest = np.logaddexp(log_ndtr(plus), log_ndtr(minus)) - np.log(2)
    relative = -np.expm1(smallest - fair)
    # near K = 1 the two logs cancel; there the price is the cost of a short offset from the optimum
    near = (relative < 0.1) & (K != 1) & (m >= 0)
    place = np.where(near, m, 1.0), np.where(near, sigma, 1.0), np.where(near, K, 2.0)
    cost = offset_cost(fair_offset(*place), *place)
    plain = np.where(K == 1, np.maximum(relative, 0.0), relative) * np.exp(fair)
    return np.asarray(np.where(m < 0, _price_below_half(m, sigma, K), np.where(near, cost, plain)))


def _price_below_half(m: Array, sigma: Array, K: Array) -> Array:
    """Return the price at margins below 0, where the fair error is above 1/2 and a constant has 1/2.

    It is Phi(z) - 1/2 at the fair z-score z plus 1/2 - (Phi(z_+) + Phi(z_-)) / 2 at the optimum, both >= 0.
    """
    m = np.minimum(m, -np.finfo(np.float64).tiny)
    log_K = np.log1p(K - 1)
    root = np.sqrt(m**2 + (K - 1) * (K + 1) * sigma**2 * log_K / 2)
    half = (K - 1) * sigma * log_K / (2 * (root - m))  # -(z_+ + z_-) / 2, with (root + m)(root - m) in it
    z, (plus, minus) = -m / ((K + 1) * sigma), optimal_z_scores(m, sigma, K)
    middle = np.where(np.isfinite(plus - minus), (plus - minus) / 2, 0.0)
    return normal_interval(z, z) + normal_interval(middle, half) / 2


def robust_gap(margin: npt.ArrayLike, sigma: npt.ArrayLike, K: npt.ArrayLike) -> Array:
    """Return R_+ - R_- of the optimal robust classifier, accurate in the tails and near K = 1.

    z_+ - z_- = (K + 1) / (K sigma) times the offset from the optimal to the fair bias, which has no
    cancellation.

    Args:
        margin: robust margin m, any sign; all arguments broadcast.
        sigma: standard deviation of class -1, > 0.
        K: ratio of the standard deviations, > 0.

    Raises:
        InputError: an argument is outside its domain.

    >>> round(float(robust_gap(0.7, 1.0, 2.0)), 10)
    0.3381669973
    """
    plus, minus = optimal_z_scores(margin, sigma, K)
    sigma, K = np.asarray(sigma, np.float64), np.asarray(K, np.float64)
    with np.errstate(invalid="ignore"):
        half = (K + 1) * fair_offset(margin, sigma, K) / (2 * K * sigma)
        middle = (plus + minus) / 2
        finite = np.isfinite(half) & np.isfinite(middle)
    gap = normal_interval(np.where(finite, middle, 0.0), np.where(finite, half, 0.0))
    return np.asarray(np.where(finite, gap, ndtr(plus) - ndtr(minus)))


def reweight_odds(
    bias: npt.ArrayLike, margin: npt.ArrayLike, sigma: npt.ArrayLike, K: npt.ArrayLike
) -> Array:
    """Return ln r of the cost odds at which a bias is stationary: ln K + (z_+^2 - z_-^2) / 2.

    At `fair_bias` the odds are exactly K, whatever the margin; at the optimal bias they are 1, and ln r keeps
    its sign and digits beside it. Stationary is not optimal: see `robust_fairness_by_reweight`.

    >>> round(float(reweight_odds(1 / 3, 1.0, 1.0, 2.0) / np.log(2)), 12)
    1.0
    """
    b, m, sigma, K = np.broadcast_arrays(*(np.asarray(v, np.float64) for v in (bias, margin, sigma, K)))
    # K sigma (z_+ - z_-) and K sigma (z_+ + z_-), with K - 1 in place of differences of z-scores
    less, more = m * (K - 1) - b * (K + 1), b * (K - 1) - m * (K + 1)
    with np.errstate(invalid="ignore", over="ignore"):
        log_K = np.log1p(K - 1)
        odds = np.array(log_K + less / (K * sigma) * (more / (K * sigma)) / 2)
        terms = (abs(m * (K - 1)) + abs(b) * (K + 1)) * (abs(b * (K - 1)) + abs(m) * (K + 1))
        cancelled = abs(odds) < CANCELLED * (abs(log_K) + terms / (K * sigma) ** 2 / 2)
    places = zip(b[cancelled], m[cancelled], sigma[cancelled], K[cancelled], strict=True)
    odds[cancelled] = [_exact_odds(*map(float, place)) for place in places]
    return odds


CANCELLED = 1e-4
"""Share of its terms below which a sum is taken with `DIGITS` digits: doubles would leave it less than 12."""
DIGITS = 50


def _exact_odds(b: float, m: float, sigma: float, K: float) -> float:
    """Return `reweight_odds` of these doubles, correctly rounded but for the last digit."""
    with mpmath.workdps(DIGITS):
        bias, margin, width, ratio = map(mpmath.mpf, (b, m, sigma, K))
        plus, minus = (bias + margin) / (ratio * width), (bias - margin) / width
        return float(mpmath.log(ratio) + (plus**2 - minus**2) / 2)


def critical_margin(sigma: npt.ArrayLike, K: npt.ArrayLike) -> Array:
    """Return the margin above which odds K make `fair_bias` optimal, (K + 1) (sigma / 2) Phi^-1(K / (K + 1)).

    For K < 1 the classes are exchanged and Phi^-1(1 / (K + 1)) stands in its place.

    >>> round(float(critical_margin(1.0, 2.0)), 4)
    0.6461
    """
    sigma, K = np.asarray(sigma, np.float64), np.asarray(K, np.float64)
    return np.asarray((K + 1) * sigma / 2 * ndtri(np.maximum(K, 1) / (K + 1)))


def robust_fairness_by_reweight(
    margin: npt.ArrayLike, sigma: npt.ArrayLike, K: npt.ArrayLike
) -> npt.NDArray[np.bool_]:
    """Say whether cost odds K make the classifier with equal robust errors optimal: m > `critical_margin`.

    Below it the reweighted optimum is constant: "reweighting can always equalise" is false for the 0/1 error.
    """
    return np.asarray(np.asarray(margin, np.float64) > critical_margin(sigma, K))


def natural_fairness_by_reweight(
    mu: npt.ArrayLike, margin: npt.ArrayLike, sigma: npt.ArrayLike, K: npt.ArrayLike
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Say whether the classifier with equal natural errors is a local, and whether it is the global, optimum.

    Of reweighted robust training at margin m = mu - eps rho, with the odds that make it stationary. It is
    local iff eps rho / mu < 2K / (K^2 + 1) (K != 1), global iff also r Phi(z_+) + Phi(z_-) < min(1, r).
    """
    mu, m, sigma, K = np.broadcast_arrays(*(np.asarray(v, np.float64) for v in (mu, margin, sigma, K)))
    b = fair_bias(mu, K)
    local = (mu - m) / mu < 2 * K / (K**2 + 1)
    log_odds = reweight_odds(b, m, sigma, K)
    plus, minus = bias_z_scores(b, m, sigma, K)
    return local, local & beats_constants(plus, minus, log_odds)


def natural_fairness_by_remargin(
    mu: npt.ArrayLike, sigma: npt.ArrayLike, K: npt.ArrayLike
) -> npt.NDArray[np.bool_]:
    """Say whether some radius of the wide class alone equalises natural errors.

    For K > 1, a radius eps_+ and eps_- = 0: iff mu / sigma >= (K + 1) sqrt(ln K / 2), because the narrow
    class's z-score never exceeds -sqrt(2 ln K). K < 1 exchanges the classes.
    """
    mu, sigma, K = (np.asarray(v, np.float64) for v in (mu, sigma, K))
    narrow = np.where(K < 1, K * sigma, sigma)
    ratio = np.where(K < 1, 1 / K, K)
    return np.asarray(mu / narrow >= (ratio + 1) * np.sqrt(np.log(ratio) / 2))


def reachable_bias(margin: npt.ArrayLike, sigma: npt.ArrayLike, K: npt.ArrayLike) -> tuple[Array, Array]:
    """Return (b_c, r_c): for K > 1 reweighting reaches the biases up to b_c, and jumps at odds r_c.

    b_c solves K M((b + m) / (K sigma)) = M((b - m) / sigma) with Mills' ratio M: the tangent of the ROC
    curve from its corner. Beyond r_c the optimum is always +1. The jump is why dual ascent on
    FRL's multipliers can oscillate.

    Args:
        margin: m, any sign; all arguments broadcast.
        sigma: standard deviation of class -1, > 0.
        K: ratio of the standard deviations, > 1.

    Raises:
        InputError: an argument is outside its domain.

    >>> [round(float(v), 4) for v in reachable_bias(1.0, 1.0, 2.0)]
    [0.9175, 3.1561]
    """
    m, sigma, K = np.broadcast_arrays(
        check_array("margin", margin, low=-np.inf),
        check_array("sigma", sigma, low=0, strict=True),
        check_array("K", K, low=1, strict=True),
    )

    def excess(b: Array, m: Array, s: Array, k: Array) -> Array:
        mills = [np.log(erfcx(x / np.sqrt(2))) for x in ((b + m) / (k * s), (b - m) / s)]
        return np.asarray(np.log(k) + mills[0] - mills[1])

    top = (K**2 + 1) * m / ((K - 1) * (K + 1))  # where the curvature of the error changes sign
    bracket = bracket_root(excess, top - sigma, top, xmax=top, args=(m, sigma, K)).bracket
    b = find_root(excess, bracket, args=(m, sigma, K)).x
    return b, np.exp(reweight_odds(b, m, sigma, K))
