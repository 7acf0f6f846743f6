"""Two classes of equal covariance and unequal priors: Hu et al. (2023), Gaussian and symmetric stable laws.

R = pi_- / pi_+ is the prior ratio. Class +1 has mean theta, class -1 mean -theta.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq, minimize
from scipy.special import ndtr
from scipy.stats import levy_stable

from theory.adversary import NORMS, best_direction
from theory.inputs import InputError, check_real

__all__ = [
    "Effects",
    "StableOptimum",
    "accuracy_disparity",
    "cauchy_constant_ratio",
    "cauchy_rootless_ratio",
    "covariance_direction",
    "effects",
    "stable_cdf",
    "stable_margin",
    "stable_optimum",
    "stable_pdf",
]

Array = npt.NDArray[np.float64]


def covariance_direction(
    theta: npt.ArrayLike, covariance: npt.ArrayLike, eps: float, norm: str = "linf"
) -> tuple[Array, float, float]:
    """Return (w, m, mu) of the optimal robust direction for a full covariance S.

    w = S^-1 (theta - z), z the point of the adversary's ball nearest to theta in the norm of S^-1, and
    m = |theta - z| in that norm; mu = w.theta / sqrt(w'Sw) is its natural margin. Both are in standard
    deviations of the score. For S = sigma^2 I they are those of `theory.adversary.best_direction` over sigma.

    Args:
        theta: mean of class +1, shape (d,).
        covariance: S, symmetric positive definite, shape (d, d).
        eps: radius, below the norm of theta: beyond it the optimum is the constant majority class.
        norm: linf, l2 or l1.

    Raises:
        InputError: the covariance is not positive definite, or theta is inside the ball.
    """
    t, S = np.asarray(theta, np.float64), np.asarray(covariance, np.float64)
    if norm not in NORMS:
        raise InputError(f"norm must be one of {', '.join(NORMS)}, got {norm!r:.60}")
    size = {"linf": np.abs(t).max(), "l2": np.linalg.norm(t), "l1": np.abs(t).sum()}[norm]
    check_real("eps", eps, low=0)
    if eps >= size:
        raise InputError(f"eps must be below the {norm} norm of theta, {size:g}, got {eps:g}")
    if S.shape != (len(t), len(t)) or not np.allclose(S, S.T) or np.linalg.eigvalsh(S)[0] <= 0:
        raise InputError(f"covariance must be symmetric positive definite of shape ({len(t)}, {len(t)})")
    precision = np.asarray(np.linalg.inv(S), np.float64)
    if np.allclose(S, S[0, 0] * np.eye(len(t)), rtol=1e-14):
        w = best_direction(t, eps, norm).weights
    else:
        w = np.asarray(precision @ (t - _project(t, precision, eps, norm)))
    deviation = np.sqrt(w @ S @ w)
    taken = {"linf": np.abs(w).sum(), "l2": np.linalg.norm(w), "l1": np.abs(w).max()}[norm]
    return w / deviation, float((w @ t - eps * taken) / deviation), float(w @ t / deviation)


def _project(t: Array, precision: Array, eps: float, norm: str) -> Array:
    """Return the point of the ball nearest to t in the norm of ``precision``."""
    if eps == 0:
        return np.zeros_like(t)
    d = len(t)

    def objective(z: Array) -> tuple[float, Array]:
        gap = z - t
        return float(gap @ precision @ gap) / 2, precision @ gap

    def solve(z0: Array, **constraints: object) -> Array:
        options = {"ftol": 1e-16, "maxiter": 1000}
        return np.asarray(minimize(objective, z0, jac=True, method="SLSQP", options=options, **constraints).x)

    if norm == "linf":
        return solve(np.clip(t, -eps, eps), bounds=[(-eps, eps)] * d)
    if norm == "l2":  # the multiplier of the sphere solves a scalar equation
        values, vectors = np.linalg.eigh(precision)
        rotated = vectors.T @ t

        def excess(multiplier: float) -> float:
            return float(np.linalg.norm(values * rotated / (values + multiplier)) - eps)

        top = values.max() * np.linalg.norm(t) / eps
        multiplier = brentq(excess, 0, top, xtol=1e-300, rtol=1e-15)
        return np.asarray(vectors @ (values * rotated / (values + multiplier)))
    # l1: z = u - v with u, v >= 0 and sum(u + v) <= eps

    def split(x: Array) -> tuple[float, Array]:
        value, gradient = objective(x[:d] - x[d:])
        return value, np.concatenate([gradient, -gradient])

    limit = {"type": "ineq", "fun": lambda x: eps - x.sum(), "jac": lambda x: -np.ones_like(x)}
    start = np.zeros(2 * d)
    options = {"ftol": 1e-16, "maxiter": 1000}
    x = minimize(
        split,
        start,
        jac=True,
        method="SLSQP",
        bounds=[(0, None)] * (2 * d),
        constraints=[limit],
        options=options,
    ).x
    return np.asarray(x[:d] - x[d:])


@dataclass(frozen=True)
class Effects:
    """Accuracies of both classes, (+1, -1), and what adversarial training changes (Hu et al., 2023).

    Args:
        standard: natural accuracy of the optimal natural classifier.
        robust_trained: natural accuracy of the optimal robust classifier.
        robust: robust accuracy of the optimal robust classifier.
        inherent: change that would come without imbalance, the same for both classes, <= 0.
        imbalance: the rest of the change from ``standard`` to ``robust_trained``, >= 0 for the
            majority; it is not always <= 0 for the minority.
    """

    standard: tuple[float, float]
    robust_trained: tuple[float, float]
    robust: tuple[float, float]
    inherent: float
    imbalance: tuple[float, float]


def effects(mu_natural: float, mu: float, margin: float, R: float) -> Effects:
    """Return the accuracies of both classes and the inherent and the imbalance effect.

    Args:
        mu_natural: margin of the optimal natural direction, in standard deviations of the score, > 0.
        mu: natural margin of the optimal robust direction, <= mu_natural.
        margin: its robust margin m, from 0 to mu; the threshold is that of m, -ln R / (2m).
        R: prior ratio pi_- / pi_+, > 0.

    Raises:
        InputError: an argument is outside its domain; for m <= 0 the optimum is the constant majority class.
    """
    for name, value in (("mu_natural", mu_natural), ("mu", mu), ("margin", margin), ("R", R)):
        check_real(name, value, low=0, strict=True)
    shift = np.log(R) / 2

    def accuracies(center: float, scale: float) -> tuple[float, float]:
        return float(ndtr(center - shift / scale)), float(ndtr(center + shift / scale))

    standard, trained = accuracies(mu_natural, mu_natural), accuracies(mu, margin)
    inherent = float(ndtr(mu) - ndtr(mu_natural))
    imbalance = tuple(after - before - inherent for before, after in zip(standard, trained, strict=True))
    return Effects(standard, trained, accuracies(margin, margin), inherent, (imbalance[0], imbalance[1]))


def accuracy_disparity(mu: npt.ArrayLike, margin: npt.ArrayLike, R: npt.ArrayLike) -> Array:
    """Return |natural accuracy of -1 minus that of +1| of the classifier that is optimal at margin m.

    Phi(mu + h) - Phi(mu - h) with h = |ln R| / (2m): it falls with mu and rises with h, so it never falls
    when training becomes robust (Hu et al., 2023).

    Args:
        mu: its natural margin; all arguments broadcast.
        margin: m > 0; mu for natural training.
        R: prior ratio, > 0.
    """
    mu, m, R = (np.asarray(v, np.float64) for v in (mu, margin, R))
    half = np.abs(np.log(R)) / (2 * m)
    return np.asarray(ndtr(-mu + half) - ndtr(-mu - half))


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


def stable_margin(theta: npt.ArrayLike, eps: float, alpha: float) -> float:
    """Return the best margin over noise scale for independent stable coordinates and linf.

    max over w of (w.theta - eps |w|_1) / |w|_alpha = |S_eps(theta)|_(alpha / (alpha - 1)) (Hoelder): at
    alpha = 1 the largest coordinate, so that aggregating coordinates gains nothing.

    Args:
        theta: mean of class +1, shape (d,).
        eps: radius, below the largest |theta_i|.
        alpha: from 1 to 2.
    """
    check_real("alpha", alpha, low=1, high=2)
    kept = np.maximum(np.abs(np.asarray(theta, np.float64)) - check_real("eps", eps, low=0), 0)
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
