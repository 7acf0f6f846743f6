"""Three classes in a row: the middle one has twice the error, and beyond a radius it is given up.

After Dobriban, Hassani, Hong and Robey (2023), https://arxiv.org/abs/2006.05161, who have three classes at
-theta, 0 and theta; the doubling, the jump and its radius are ours.
"""

from dataclasses import dataclass
from math import factorial

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr

from theory.common.inputs import InputError, check_real

__all__ = ["ThreeInARow", "middle_class_radius", "min_max_row", "three_in_a_row"]


@dataclass(frozen=True)
class ThreeInARow:
    """A classifier of three classes in a row, and its robust errors.

    Args:
        kind: which classes it ever answers: "interior" (all), "middle given up", "middle only" or "one outer
            class".
        t: it answers the middle class where |x| < t.
        R_middle: robust error of the middle class.
        R_outer: robust error of an outer class, averaged over the two.
        objective: p0 R_middle + (1 - p0) R_outer.
    """

    kind: str
    t: float
    R_middle: float
    R_outer: float
    objective: float


def three_in_a_row(theta: float, sigma: float, eps: float, p0: float = 1 / 3) -> ThreeInARow:
    """Return the classifier with the smallest average robust error among all classifiers of one direction.

    Of N(-theta, sigma^2), N(0, sigma^2), N(theta, sigma^2) with priors p1, p0, p1. With thresholds +-t,
    t = theta / 2 + sigma^2 ln(p0 / p1) / (theta - 2 eps), the middle class errs with probability
    2 Phi(-(t - eps) / sigma) and an outer one with Phi(-(theta - t - eps) / sigma). Never answering the
    middle class leaves Phi(-(theta - eps) / sigma) to the outer ones.

    Args:
        theta: distance of neighbours, > 0.
        sigma: standard deviation, > 0.
        eps: radius, >= 0.
        p0: prior of the middle class, in (0, 1).

    Raises:
        InputError: an argument is outside its domain.

    Example:
        >>> three_in_a_row(2.0, 1.0, 0.3).kind, three_in_a_row(2.0, 1.0, 0.6).kind
        ('interior', 'middle given up')
    """
    theta, s = (check_real(n, v, low=0, strict=True) for n, v in (("theta", theta), ("sigma", sigma)))
    check_real("eps", eps, low=0)
    if not 0 < check_real("p0", p0, low=0, high=1) < 1:
        raise InputError(f"p0 must be in (0, 1), got {p0:g}")
    p1 = (1 - p0) / 2
    outer = float(ndtr(-(theta - eps) / s))
    rules = [
        ThreeInARow("middle given up", 0.0, 1.0, outer, p0 + 2 * p1 * outer),
        ThreeInARow("middle only", np.inf, 0.0, 1.0, 2 * p1),
        ThreeInARow("one outer class", -np.inf, 1.0, 0.5, p0 + p1),
    ]
    if theta > 2 * eps:
        t = theta / 2 + s**2 * float(np.log(p0 / p1)) / (theta - 2 * eps)
        if t > eps:  # below, the middle class has no robust point
            inner, outer = 2 * float(ndtr(-(t - eps) / s)), float(ndtr(-(theta - t - eps) / s))
            rules.insert(0, ThreeInARow("interior", t, inner, outer, p0 * inner + 2 * p1 * outer))
    return min(rules, key=lambda rule: rule.objective)


def middle_class_radius(theta: float, sigma: float = 1.0) -> float:
    """Return the radius eps_c beyond which the best average error gives the middle class up; equal priors.

    It solves 4 Phi(-(theta / 2 - eps) / sigma) = 1 + 2 Phi(-(theta - eps) / sigma), and is above 0 for every
    theta: without an adversary no class of equal prior is given up.

    Args:
        theta: distance of neighbours, > 0.
        sigma: standard deviation, > 0.

    Raises:
        InputError: an argument is outside its domain.

    Example:
        >>> round(middle_class_radius(2.0), 10)
        0.4113027447
    """
    ratio = check_real("theta", theta, low=0, strict=True) / check_real("sigma", sigma, low=0, strict=True)
    return float(sigma * brentq(_advantage, 0.0, ratio / 2, args=(ratio,), xtol=1e-300, rtol=8.9e-16))


def _advantage(eps: float, ratio: float) -> float:
    """Return (4 Phi(x) - 1 - 2 Phi(y)) sqrt(2 pi) / 2, x = eps - ratio / 2 and y = eps - ratio.

    Phi(z) = 1/2 + phi(0) sum of (-1)^n z^(2n+1) / (2^n n! (2n+1)); near 0 the constants cancel, and the
    linear terms leave eps, exactly.
    """
    x, y = eps - ratio / 2, eps - ratio
    if ratio > 1:
        return float((4 * ndtr(x) - 1 - 2 * ndtr(y)) * np.sqrt(2 * np.pi) / 2)
    terms = [(-0.5) ** n * (2 * x ** (2 * n + 1) - y ** (2 * n + 1)) / (factorial(n) * (2 * n + 1))
             for n in range(1, 16)]  # fmt: skip
    return float(eps + sum(terms))


def min_max_row(theta: float, sigma: float, eps: float) -> ThreeInARow:
    """Return the thresholds with the smallest worst class error: 2 Phi(-(t-eps)/s) = Phi(-(theta-t-eps)/s).

    Unlike the best average error it has no jump in eps: t > theta / 2 moves continuously. Beyond the radius
    at which no thresholds leave the worst class below 1 the result is still of this form. Equal priors.

    Args:
        theta: distance of neighbours, > 0.
        sigma: standard deviation, > 0.
        eps: radius, from 0 to theta / 2.

    Raises:
        InputError: an argument is outside its domain.
    """
    theta, s = (check_real(n, v, low=0, strict=True) for n, v in (("theta", theta), ("sigma", sigma)))
    check_real("eps", eps, low=0, high=theta / 2)

    def excess(t: float) -> float:
        return 2 * float(ndtr(-(t - eps) / s)) - float(ndtr(-(theta - t - eps) / s))

    t = float(brentq(excess, theta / 2, theta + 3 * s, xtol=1e-300, rtol=8.9e-16))
    R = float(ndtr(-(theta - t - eps) / s))
    return ThreeInARow("interior", t, R, R, R)
