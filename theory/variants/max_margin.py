"""Max-margin with n / d fixed: the class errors, and when the classes can be separated.

After Montanari et al. (2019), https://arxiv.org/abs/1911.01544, Deng, Kammoun and Thrampoulidis (2019),
https://arxiv.org/abs/1911.05822, and, for adversarial training, Javanmard and Soltanolkotabi (2022),
https://arxiv.org/abs/2010.11213, and Taheri, Pedarsani and Thrampoulidis (2022),
https://arxiv.org/abs/2010.13275; two deviations, a bias and the class errors are ours (Gordon's comparison).

n = alpha d samples, share pi_y of class y, deviations s_+ = K sigma and s_- = sigma. With
psi(t) = E max(0, t + G)^2 the largest kappa with y_i (w.x_i + b) >= kappa, |w| = 1, tends to the root of

    min over (u, b) of  alpha sum_y pi_y psi((kappa - u |theta| - y b) / s_y) - (1 - u^2)  =  0.

An l2 adversary lowers every margin by eps. So the robust max-margin classifier is the max-margin classifier,
it separates iff kappa > eps, cost weights change nothing there, and class radii only shift the bias by
(eps_+ - eps_-) / 2.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import ndtr

from theory.common.inputs import InputError, check_real
from theory.variants.errors import errors_at

__all__ = ["MaxMargin", "SeparabilityThreshold", "max_margin", "separability_threshold", "squared_excess"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class MaxMargin:
    """The max-margin classifier in the proportional limit.

    Args:
        kappa: margin.
        cosine: of w and theta.
        bias: b, for a unit vector w.
        R_nat_plus: natural error of class +1.
        R_nat_minus: natural error of class -1.
        R_rob_plus: robust error of class +1.
        R_rob_minus: robust error of class -1.
    """

    kappa: float
    cosine: float
    bias: float
    R_nat_plus: float
    R_nat_minus: float
    R_rob_plus: float
    R_rob_minus: float


@dataclass(frozen=True)
class SeparabilityThreshold:
    """The n / d up to which some linear classifier makes no robust training error.

    Args:
        alpha_c: the threshold.
        cosine: of w and theta there.
        bias: b there.
    """

    alpha_c: float
    cosine: float
    bias: float


def squared_excess(t: npt.ArrayLike) -> Array:
    """Return psi(t) = E max(0, t + G)^2 = (1 + t^2) Phi(t) + t phi(t) for a standard normal G."""
    x = np.asarray(t, np.float64)
    return np.asarray((1 + x**2) * ndtr(x) + x * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi))


@dataclass(frozen=True)
class _Objective:
    """sum_y pi_y psi((kappa - u theta - y b) / s_y), its gradient and Hessian in (u, b)."""

    theta: float
    widths: Array
    shares: Array

    @classmethod
    def of(cls, norm_theta: float, sigma: float, K: float, share: float) -> "_Objective":
        for name, value in (("norm_theta", norm_theta), ("sigma", sigma), ("K", K)):
            check_real(name, value, low=0, strict=True)
        if not 0 < check_real("share", share, low=0, high=1) < 1:
            raise InputError(f"share must be in (0, 1), got {share:g}")
        return cls(norm_theta, np.array([K * sigma, sigma]), np.array([share, 1 - share]))

    def terms(self, x: Array, kappa: float) -> tuple[float, Array, Array]:
        """Return the sum, its gradient and its Hessian at x = (u, b)."""
        t = (kappa - x[0] * self.theta - np.array([1.0, -1.0]) * x[1]) / self.widths
        rows = np.array([[-self.theta, -1.0], [-self.theta, 1.0]]) / self.widths[:, None]
        slope = 2 * (t * ndtr(t) + np.exp(-(t**2) / 2) / np.sqrt(2 * np.pi))
        value = float(self.shares @ squared_excess(t))
        return value, (self.shares * slope) @ rows, (rows.T * self.shares * 2 * ndtr(t)) @ rows

    def smallest(self, kappa: float, alpha: float) -> tuple[float, Array]:
        """Return the minimum over (u, b) of alpha times the sum less 1 - u^2, and where it is.

        The function is convex; damped Newton steps end where they are lost in rounding.
        """

        def value(x: Array) -> float:
            return alpha * self.terms(x, kappa)[0] - 1 + float(x[0]) ** 2

        x = np.array([0.5, 0.0])
        for _ in range(200):
            _, gradient, hessian = self.terms(x, kappa)
            gradient = alpha * gradient + np.array([2 * x[0], 0.0])
            hessian = alpha * hessian + np.diag([2.0, 1e-300])
            step = np.linalg.solve(hessian, gradient)
            size, start = 1.0, value(x)
            while value(x - size * step) > start + 1e-15 * (1 + abs(start)) and size > 1e-12:
                size /= 2
            x = x - size * step
            if np.abs(step).max() < 1e-14 * (1 + np.abs(x).max()):
                break
        return value(x), x


def max_margin(
    norm_theta: float, sigma: float, K: float, alpha: float, eps: float = 0.0, share: float = 0.5
) -> MaxMargin:
    """Return the max-margin classifier of n = alpha d samples as d grows, and its class errors.

    Args:
        norm_theta: |theta|, > 0.
        sigma: standard deviation of class -1, > 0.
        K: ratio of the standard deviations, > 0.
        alpha: n / d, below `separability_threshold`.
        eps: l2 radius of the robust errors, >= 0; the classifier does not depend on it.
        share: of class +1 among the samples, in (0, 1).

    Raises:
        InputError: an argument is outside its domain, or the classes cannot be separated.

    Example:
        >>> result = max_margin(1.5, 1.0, 2.0, 0.8, 0.3)
        >>> round(result.kappa, 8), round(result.cosine, 8), round(result.bias, 8)
        (1.46658416, 0.50259679, -0.67352409)
    """
    objective = _Objective.of(norm_theta, sigma, K, share)
    check_real("alpha", alpha, low=0, strict=True)
    check_real("eps", eps, low=0)
    if objective.smallest(0.0, alpha)[0] >= 0:
        limit = separability_threshold(norm_theta, sigma, K, 0.0, share).alpha_c
        raise InputError(f"alpha must be below {limit:g}, where the classes can be separated, got {alpha:g}")
    top = norm_theta + sigma
    while objective.smallest(top, alpha)[0] < 0:
        top *= 2
    kappa = brentq(lambda k: objective.smallest(k, alpha)[0], 0.0, top, xtol=1e-15, rtol=8.9e-16)
    u, b = (float(v) for v in objective.smallest(kappa, alpha)[1])
    natural, robust = (errors_at(b, u * norm_theta - e, sigma, K) for e in (0.0, eps))
    return MaxMargin(kappa, u, b, *natural, *robust)


def separability_threshold(
    norm_theta: float, sigma: float, K: float, eps: float = 0.0, share: float = 0.5
) -> SeparabilityThreshold:
    """Return the n / d up to which a linear classifier has no robust training error.

    max over (u, b) of (1 - u^2) / sum_y pi_y psi((eps - u |theta| - y b) / s_y).

    Args:
        norm_theta: |theta|, > 0.
        sigma: standard deviation of class -1, > 0.
        K: ratio of the standard deviations, > 0.
        eps: l2 radius, >= 0.
        share: of class +1 among the samples, in (0, 1).

    Raises:
        InputError: an argument is outside its domain.

    Example:
        >>> round(separability_threshold(1.5, 1.0, 2.0).alpha_c, 8)
        3.95553528
    """
    objective = _Objective.of(norm_theta, sigma, K, share)
    check_real("eps", eps, low=0)
    low, high = 1.0, 1.0
    while objective.smallest(eps, low)[0] > 0:
        low /= 2
    while objective.smallest(eps, high)[0] < 0:
        high *= 2
    alpha = brentq(lambda a: objective.smallest(eps, a)[0], low, high, xtol=1e-300, rtol=8.9e-16)
    u, b = (float(v) for v in objective.smallest(eps, alpha)[1])
    return SeparabilityThreshold(float(alpha), u, b)
