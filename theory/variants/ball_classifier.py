"""A classifier that is no linear one: a ball for the narrow class (ours).

That the wide class pays is a fact about linear classifiers. Class +1 is N(theta, (K sigma)^2 I), class -1
N(-theta, sigma^2 I); answering -1 iff |x - c| < r can have errors that tend to 0 in many dimensions where
every linear classifier has average error near 1/2.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import gammainc, gammaincc
from scipy.stats import poisson

from theory.common.inputs import InputError, check_count, check_real

__all__ = ["BallClassifier", "ball_errors", "ball_radius_limit", "best_ball"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class BallClassifier:
    """Answer -1 iff |x - c| < r.

    Args:
        radius: r.
        R_plus: robust error of the wide class +1.
        R_minus: robust error of the narrow class -1.
    """

    radius: float
    R_plus: float
    R_minus: float


def ball_errors(
    dim: int, mu: float, sigma: float, K: float, center: float, radius: float, eps: float
) -> tuple[float, float]:
    """Return the robust errors (R_+, R_-) of the ball |x - c| < r under an l2 adversary.

    R_+ = F((r + eps)^2 / (K sigma)^2) and R_- = 1 - F((r - eps)^2 / sigma^2) with noncentral chi-square laws
    of d degrees. Under linf of radius e they are bounds from above at eps = e sqrt(d).

    Args:
        dim: d >= 1.
        mu: |theta|; the mean of class +1 is mu e, that of class -1 -mu e, for a unit vector e.
        sigma: standard deviation of class -1, > 0.
        K: ratio of the standard deviations, > 0.
        center: c, in units of e.
        radius: r >= 0.
        eps: l2 radius of the adversary, >= 0.

    Raises:
        InputError: an argument is outside its domain.

    Example:
        >>> plus, minus = ball_errors(100, 0.0, 1.0, 1.5, 0.0, 12.0, 1.0)
        >>> round(plus, 10), round(minus, 10)
        (0.0298211542, 0.075146601)
    """
    check_count("dim", dim, low=1)
    for name, value in (("sigma", sigma), ("K", K)):
        check_real(name, value, low=0, strict=True)
    for name, value in (("mu", mu), ("radius", radius), ("eps", eps)):
        check_real(name, value, low=0)
    check_real("center", center, low=-np.inf)
    wide = K * sigma
    plus = _noncentral(((radius + eps) / wide) ** 2, dim, ((mu - center) / wide) ** 2, upper=False)
    if radius <= eps:
        return plus, 1.0
    return plus, _noncentral(((radius - eps) / sigma) ** 2, dim, ((mu + center) / sigma) ** 2, upper=True)


def _noncentral(x: float, dim: int, shift: float, *, upper: bool) -> float:
    """Return the distribution function of the noncentral chi-square law, or 1 - it.

    A Poisson mixture of gamma probabilities. All terms are positive, so no digits are lost in the tails.
    """
    # the largest term has an index below the larger of the Poisson mean and sqrt(shift x) / 2
    top = max(shift / 2, np.sqrt(shift * x) / 2)
    j = np.arange(int(top + 40 * np.sqrt(top) + 100) if shift else 1)
    gamma = (gammaincc if upper else gammainc)(dim / 2 + j, x / 2)
    return float(min(1.0, poisson.pmf(j, shift / 2) @ gamma))


def best_ball(dim: int, sigma: float, K: float, eps: float) -> BallClassifier:
    """Return the ball around the origin with the smallest average robust error where both means are 0.

    r solves (1/K) f((r + eps) / (K sigma)) = f((r - eps) / sigma), f the chi density of d degrees. The log of
    the ratio of the two sides is concave in r, and its larger root is the minimum. Every linear classifier
    has average error 1/2 or more there.

    Args:
        dim: d >= 1.
        sigma: standard deviation of class -1, > 0.
        K: ratio of the standard deviations, > 1.
        eps: l2 radius of the adversary, >= 0.

    Raises:
        InputError: an argument is outside its domain, or no ball beats a constant classifier.

    Example:
        >>> round(best_ball(10, 1.0, 2.0, 0.3).radius, 10)
        4.4220543149
    """
    check_count("dim", dim, low=1)
    check_real("sigma", sigma, low=0, strict=True)
    check_real("K", K, low=1, strict=True)
    e = check_real("eps", eps, low=0) / sigma

    def excess(r: float) -> float:
        ratio = (dim - 1) * np.log((r - e) / (r + e)) if dim > 1 else 0.0
        return float(ratio + dim * np.log(K) + ((r + e) / K) ** 2 / 2 - (r - e) ** 2 / 2)

    def slope(r: float) -> float:
        return (dim - 1) * 2 * e / (r * r - e * e) + (r + e) / K**2 - (r - e)

    # slope falls from > 0; beyond `far` it is < 0
    far = e + 4 * (e + np.sqrt(dim) + 1) * K**2 / ((K - 1) * (K + 1))
    peak = brentq(slope, e * (1 + 1e-12), far, xtol=1e-14) if e > 0 else 0.0
    if e > 0 and excess(peak) <= 0:
        raise InputError(f"no ball beats a constant classifier at eps = {eps:g}, K = {K:g}, d = {dim}")
    end = max(2 * peak, far)
    while excess(end) > 0:
        end *= 2
    r = brentq(excess, max(peak, 1e-300), end, xtol=1e-300, rtol=8.9e-16) * sigma
    plus, minus = ball_errors(dim, 0.0, sigma, K, 0.0, r, eps)
    if plus + minus >= 1:
        raise InputError(f"no ball beats a constant classifier at eps = {eps:g}, K = {K:g}, d = {dim}")
    return BallClassifier(r, plus, minus)


def ball_radius_limit(dim: int, sigma: float, K: float, norm: str = "l2") -> float:
    """Return the radius below which the errors of a ball tend to 0 as d grows, whatever the means.

    (K - 1) sigma sqrt(d) / 2 for l2, and (K - 1) sigma / 2, whatever d, for linf.

    Args:
        dim: d.
        sigma: standard deviation of class -1, > 0.
        K: ratio of the standard deviations, > 1.
        norm: l2 or linf.

    Raises:
        InputError: an argument is outside its domain.
    """
    check_count("dim", dim, low=1)
    if norm not in ("l2", "linf"):
        raise InputError(f"norm must be l2 or linf, got {norm!r:.60}")
    s = check_real("sigma", sigma, low=0, strict=True) * (check_real("K", K, low=1, strict=True) - 1) / 2
    return s * dim**0.5 if norm == "l2" else s
