"""Two classes of equal scale and unequal priors with symmetric alpha-stable noise: Hu et al. (2023).

R = pi_- / pi_+ is the prior ratio.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.stats import levy_stable

from theory.common.inputs import Radius, check_radius, check_real

__all__ = [
    "StableOptimum",
    "cauchy_constant_ratio",
    "cauchy_rootless_ratio",
    "stable_cdf",
    "stable_margin",
    "stable_optimum",
    "stable_pdf",
]


def stable_pdf(x: float, alpha: float) -> float:
    """Return the density of the symmetric alpha-stable law with characteristic function exp(-|t|^alpha).

    alpha = 2 is N(0, 2), not N(0, 1); alpha = 1 is the Cauchy law.
    """
    if alpha == 1:
        return float(1 / (np.pi * (1 + x * x)))
    return float(levy_stable.pdf(x, alpha, 0))


def stable_cdf(x: float, alpha: float) -> float:
    """Return the distribution function of the law of `stable_pdf`, accurate to about 1e-9."""
    if alpha == 1:
        return float(np.arctan2(1, -x) / np.pi)  # accurate in the lower tail
    return float(levy_stable.cdf(x, alpha, 0))


def stable_margin(theta: npt.ArrayLike, eps: Radius, alpha: float) -> float:
    """Return the best margin over noise scale for independent stable coordinates and linf.

    max over w of (w.theta - eps |w|_1) / |w|_alpha = |S_eps(theta)|_(alpha / (alpha - 1)) (Hoelder): at
    alpha = 1 the largest coordinate, so that aggregating coordinates gains nothing.

    Args:
        theta: mean of class +1, shape (d,).
        eps: radius, below the largest |theta_i|.
        alpha: from 1 to 2.
    """
    check_real("alpha", alpha, low=1, high=2)
    kept = np.maximum(np.abs(np.asarray(theta, np.float64)) - check_radius("eps", eps), 0)
    if alpha == 1:
        return float(kept.max())
    return float(np.linalg.norm(kept, alpha / (alpha - 1)))


@dataclass(frozen=True)
class StableOptimum:
    """The threshold with the smallest weighted error.

    Args:
        kind: "interior", "always_plus" or "always_minus".
        bias: b; infinite when the classifier is constant.
        errors: class errors (+1, -1).
        objective: pi_+ R_+ + pi_- R_-.
    """

    kind: str
    bias: float
    errors: tuple[float, float]
    objective: float


def stable_optimum(margin: float, scale: float, R: float, alpha: float = 1.0) -> StableOptimum:
    """Return the optimal threshold of two symmetric alpha-stable classes at +margin and -margin.

    For alpha < 2 the likelihood ratio is bounded and tends to 1 in the tails, so a moderate R already makes
    the constant majority class optimal, before the stationary point disappears (Hu et al., 2023; the print
    takes its existence for optimality). For the Cauchy law the stationary points solve

        (R - 1) b^2 + 2 m (R + 1) b + (R - 1) (1 + m^2) = 0.

    Args:
        margin: m.
        scale: scale of the noise, > 0.
        R: prior ratio pi_- / pi_+, > 0.
        alpha: index, above 0 and at most 2.

    Raises:
        InputError: an argument is outside its domain.
    """
    check_real("margin", margin, low=-np.inf)
    check_real("scale", scale, low=0, strict=True)
    check_real("R", R, low=0, strict=True)
    check_real("alpha", alpha, low=0, high=2, strict=True)
    m, ratio = margin / scale, max(R, 1 / R)
    majority = 1 / (1 + ratio)
    b = _stationary(m, ratio, alpha) if m > 0 else None
    if b is not None:
        rare, common = stable_cdf(-b - m, alpha), stable_cdf(b - m, alpha)
        objective = (rare + ratio * common) / (1 + ratio)
        if objective < majority:
            errors = (rare, common) if R >= 1 else (common, rare)
            return StableOptimum("interior", float(b * scale * (1 if R >= 1 else -1)), errors, objective)
    plus = R <= 1
    kind, bias = ("always_plus", np.inf) if plus else ("always_minus", -np.inf)
    return StableOptimum(kind, bias, (0.0, 1.0) if plus else (1.0, 0.0), majority)


def _stationary(m: float, R: float, alpha: float) -> float | None:
    """Return the local minimum of the weighted error for R >= 1 and unit scale, or None."""
    if alpha == 1:
        root = 4 * R * m**2 - (R - 1) ** 2
        # the root nearer to 0, without cancellation
        return None if root < 0 else float(-(R - 1) * (1 + m**2) / (m * (R + 1) + np.sqrt(root)))
    if R == 1:
        return 0.0

    def excess(b: float) -> float:
        """Return the log of the weighted density of -1 over that of +1: negative left of the minimum."""
        return float(np.log(R) + np.log(stable_pdf(b - m, alpha)) - np.log(stable_pdf(b + m, alpha)))

    if alpha == 2:
        return float(-np.log(R) / m)  # N(0, 2)
    grid = -m * np.concatenate([np.linspace(0, 2, 41), np.geomspace(2.05, 60, 60)])
    values = [excess(b) for b in grid]
    below = next((i for i, v in enumerate(values) if v <= 0), None)
    if below is None:
        return None
    return float(brentq(excess, grid[below], grid[below - 1], xtol=1e-13))


def cauchy_rootless_ratio(margin: float, scale: float = 1.0) -> float:
    """Return (m + sqrt(1 + m^2))^2, the prior ratio beyond which no threshold is stationary (Cauchy)."""
    m = margin / scale
    return float((m + np.hypot(1, m)) ** 2)


def cauchy_constant_ratio(margin: float, scale: float = 1.0) -> float:
    """Return the prior ratio R > 1 beyond which the majority class is optimal for the Cauchy law.

    It is smaller than `cauchy_rootless_ratio`: 2 against 2.618 at m = 1/2.

    Raises:
        InputError: the margin or the scale is not > 0.
    """
    m = check_real("margin", margin, low=0, strict=True) / check_real("scale", scale, low=0, strict=True)

    def excess(log_R: float) -> float:
        """Return (1 + R) (objective at the stationary point - that of the majority class)."""
        R = float(np.exp(log_R))
        root = max(4 * R * m**2 - (R - 1) ** 2, 0.0)
        b = -(R - 1) * (1 + m**2) / (m * (R + 1) + np.sqrt(root))
        return stable_cdf(-b - m, 1) + R * stable_cdf(b - m, 1) - 1

    return float(np.exp(brentq(excess, 0, np.log(cauchy_rootless_ratio(m)), xtol=1e-15, rtol=1e-15)))
