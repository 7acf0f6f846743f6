"""Averaging with n / d fixed: class errors of the plug-in classifier, and the samples that robustness needs.

After Schmidt et al. (2018), https://arxiv.org/abs/1804.11285, and Dan, Wei and Ravikumar (2020),
https://arxiv.org/abs/2006.16384; the formulas for two deviations and two sample sizes are ours.

w = (mean_+ - mean_-) / 2 of n_+ and n_- samples in d dimensions, with alpha = n / d of each class fixed as d
grows. Class +1 is N(theta, (K sigma)^2 I), class -1 N(-theta, sigma^2 I).
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import erfcx, ndtr

from theory.common.inputs import InputError, check_count, check_real
from theory.gaussian.optimal import optimal_bias, optimal_z_scores
from theory.variants.errors import errors_at

__all__ = [
    "Averaging",
    "AveragingLinf",
    "averaging",
    "averaging_linf",
    "excess_coefficients",
    "folded_mean",
    "schmidt_errors",
    "schmidt_samples",
    "schmidt_samples_leading",
]


@dataclass(frozen=True)
class Averaging:
    """The plug-in classifier in the proportional limit.

    Args:
        cosine: of w and theta.
        b_midpoint: bias of the rule halfway between the two sample means, for a unit vector w.
        R_nat_plus: natural error of class +1 with that bias.
        R_nat_minus: natural error of class -1.
        R_rob_plus: robust error of class +1.
        R_rob_minus: robust error of class -1.
        b_reoptimised: bias with the smallest average robust error along w.
        R_rob_plus_reoptimised: robust error of class +1 with it.
        R_rob_minus_reoptimised: robust error of class -1 with it.
        extra_radius: |theta| (1 - cosine), what the noise of w takes from the margin: scarcity acts like
            radius.
    """

    cosine: float
    b_midpoint: float
    R_nat_plus: float
    R_nat_minus: float
    R_rob_plus: float
    R_rob_minus: float
    b_reoptimised: float
    R_rob_plus_reoptimised: float
    R_rob_minus_reoptimised: float
    extra_radius: float


def averaging(
    norm_theta: float, sigma: float, K: float, alpha_plus: float, alpha_minus: float, eps: float
) -> Averaging:
    """Return the errors of averaging as d grows with n_+ / d and n_- / d fixed, l2 adversary.

    With V = (K^2 sigma^2 / alpha_+ + sigma^2 / alpha_-) / 4 and W^2 = |theta|^2 + V: cos = |theta| / W, the
    margin is |theta|^2 / W, and the midpoint bias is -(K^2 sigma^2 / alpha_+ - sigma^2 / alpha_-) / (4 W): it
    leans against the class with the larger variance per sample, and vanishes iff n_+ / n_- = K^2.

    Args:
        norm_theta: |theta|, > 0.
        sigma: standard deviation of class -1, > 0.
        K: ratio of the standard deviations, > 0.
        alpha_plus: n_+ / d, > 0.
        alpha_minus: n_- / d, > 0.
        eps: l2 radius, >= 0.

    Raises:
        InputError: an argument is outside its domain.

    Example:
        >>> errors = averaging(1.5, 1.0, 2.0, 1.0, 1.0, 0.3)
        >>> round(errors.R_rob_plus, 10), round(errors.R_rob_minus, 10)
        (0.4009488579, 0.0961905522)
    """
    for name, value in (
        ("norm_theta", norm_theta), ("sigma", sigma), ("K", K),
        ("alpha_plus", alpha_plus), ("alpha_minus", alpha_minus),
    ):  # fmt: skip
        check_real(name, value, low=0, strict=True)
    check_real("eps", eps, low=0)
    wide, narrow = (K * sigma) ** 2 / alpha_plus, sigma**2 / alpha_minus
    V = (wide + narrow) / 4
    W = float(np.sqrt(norm_theta**2 + V))
    mu, b = norm_theta**2 / W, -(wide - narrow) / (4 * W)
    best = float(optimal_bias(mu - eps, sigma, K))
    return Averaging(
        norm_theta / W,
        b,
        *errors_at(b, mu, sigma, K),
        *errors_at(b, mu - eps, sigma, K),
        best,
        *errors_at(best, mu - eps, sigma, K),
        norm_theta * V / (W * (W + norm_theta)),
    )


def folded_mean(mean: float, variance: float) -> float:
    """Return E|N(mean, variance)| = |c| + 2 sqrt(v) (phi(t) - t Phi(-t)), t = |c| / sqrt(v)."""
    return abs(mean) + _folded_excess(abs(mean) / np.sqrt(variance)) * float(np.sqrt(variance))


def _folded_excess(t: float) -> float:
    """Return 2 (phi(t) - t Phi(-t)), with Mills' ratio in place of the difference of two tails."""
    mills = np.sqrt(np.pi / 2) * erfcx(t / np.sqrt(2))
    return float(2 * np.exp(-t * t / 2) / np.sqrt(2 * np.pi) * (1 - t * mills))


@dataclass(frozen=True)
class AveragingLinf:
    """The plug-in classifier under an l-infinity adversary.

    Args:
        margin_robust: m.
        b_midpoint: bias of the midpoint rule.
        R_rob_plus: robust error of class +1.
        R_rob_minus: robust error of class -1.
    """

    margin_robust: float
    b_midpoint: float
    R_rob_plus: float
    R_rob_minus: float


def averaging_linf(c: float, sigma: float, K: float, alpha: float, e: float) -> AveragingLinf:
    """Return the errors of averaging for theta = c / sqrt(d) 1 and radius e / sqrt(d) in l-infinity.

    |w|_1 / sqrt(d) tends to E|N(c, v)| with v = (K^2 + 1) sigma^2 / (2 alpha), so the robust margin is
    (c^2 - e E|N(c, v)|) / sqrt(c^2 + v).

    Args:
        c: |theta|, > 0.
        sigma: standard deviation of class -1, > 0.
        K: ratio of the standard deviations, > 0.
        alpha: n / d of both classes together, half of each, > 0.
        e: radius times sqrt(d), >= 0.

    Raises:
        InputError: an argument is outside its domain.
    """
    for name, value in (("c", c), ("sigma", sigma), ("K", K), ("alpha", alpha)):
        check_real(name, value, low=0, strict=True)
    v = (K**2 + 1) * sigma**2 / (2 * alpha)
    W = float(np.sqrt(c**2 + v))
    m = (c**2 - check_real("e", e, low=0) * folded_mean(c, v)) / W
    b = -(K - 1) * (K + 1) * sigma**2 / (2 * alpha * W)
    return AveragingLinf(m, b, *errors_at(b, m, sigma, K))


def excess_coefficients(norm_theta: float, sigma: float, K: float, eps: float) -> tuple[float, float, float]:
    """Return (C_+, C_-, z_+): the robust error of class y exceeds its limit by C_y (d - 1) / n + o(1 / n).

    For averaging at the population-optimal bias, fixed d and n / 2 samples a class, C_y = phi(z_y) times
    sigma (K^2 + 1) / (4 |theta|) over K for class +1. At the optimum phi(z_+) / K = phi(z_-): to first order
    scarcity costs both classes the same.

    Args:
        norm_theta: |theta|, > eps.
        sigma: standard deviation of class -1, > 0.
        K: ratio of the standard deviations, > 0.
        eps: l2 radius, >= 0.

    Raises:
        InputError: an argument is outside its domain.

    Example:
        >>> plus, minus, _ = excess_coefficients(1.5, 1.0, 2.0, 0.3)
        >>> round(plus, 10), round(minus, 10)
        (0.1428782296, 0.1428782296)
    """
    for name, value in (("norm_theta", norm_theta), ("sigma", sigma), ("K", K)):
        check_real(name, value, low=0, strict=True)
    if check_real("eps", eps, low=0) >= norm_theta:
        raise InputError(f"eps must be below norm_theta = {norm_theta:g}, got {eps:g}")
    plus, minus = (float(z) for z in optimal_z_scores(norm_theta - eps, sigma, K))
    factor = sigma * (K**2 + 1) / (4 * norm_theta) / float(np.sqrt(2 * np.pi))
    return float(np.exp(-(plus**2) / 2)) * factor / K, float(np.exp(-(minus**2) / 2)) * factor, plus


def schmidt_errors(c: float, eps: float, d: int, n: int, K: float = 1.0) -> tuple[float, float]:
    """Return the natural and the robust error of averaging n samples in the model of Schmidt et al. (2018).

    theta = 1 in d dimensions, sigma = c d^(1/4), l-infinity radius eps. With v = sigma^2 / n they are
    Phi(-sqrt(d / (1 + v)) / sigma) and Phi(-sqrt(d) (1 - eps E|N(1, v)|) / (sqrt(1 + v) sigma)), up to
    O(d^-1/2) in the argument.

    Args:
        c: > 0.
        eps: radius, from 0 to below 1.
        d: dimension, >= 1.
        n: number of samples, >= 1.
        K: with two widths, K sigma and sigma, v is that of (K^2 + 1) sigma^2 / 2, and the errors are those of
            class
            -1; divide the z-scores by K for class +1.

    Raises:
        InputError: an argument is outside its domain.
    """
    sigma = _schmidt_sigma(c, eps, d)
    check_real("K", K, low=0, strict=True)
    v = sigma**2 * (K**2 + 1) / 2 / check_count("n", n, low=1)
    scale = float(np.sqrt(d / (1 + v))) / sigma
    return float(ndtr(-scale)), float(ndtr(-scale * (1 - eps * folded_mean(1.0, v))))


def schmidt_samples(c: float, eps: float, d: int) -> float:
    """Return n_half, the number of samples at which the robust error of averaging passes 1/2.

    It solves E|N(1, sigma^2 / n)| = 1 / eps with sigma = c d^(1/4).

    Args:
        c: > 0.
        eps: radius, in (0, 1).
        d: dimension, >= 1.

    Raises:
        InputError: an argument is outside its domain.
    """
    sigma = _schmidt_sigma(c, eps, d)
    if eps == 0:
        return 0.0
    # E|N(1, 1 / t^2)| - 1 = excess(t) / t falls with t = sqrt(n) / sigma; ln t is sought, as n may be tiny
    target = np.log1p(-eps) - np.log(eps)

    def excess(log_t: float) -> float:
        t = float(np.exp(log_t))
        return float(np.log(_folded_excess(t)) - log_t - target)

    return float((sigma * np.exp(brentq(excess, -50.0, np.log(35.0), xtol=1e-15, rtol=8.9e-16))) ** 2)


def schmidt_samples_leading(c: float, eps: float, d: int) -> float:
    """Return (2 / pi) eps^2 c^2 sqrt(d), the limit of `schmidt_samples` for small eps."""
    return float(2 / np.pi * (eps * _schmidt_sigma(c, eps, d)) ** 2)


def _schmidt_sigma(c: float, eps: float, d: int) -> float:
    check_real("eps", eps, low=0, high=1)
    if eps == 1:
        raise InputError("eps must be below 1, got 1")
    return float(check_real("c", c, low=0, strict=True) * check_count("d", d, low=1) ** 0.25)
