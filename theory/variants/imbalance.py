"""Two Gaussian classes of equal covariance and unequal priors: Hu et al. (2023).

R = pi_- / pi_+ is the prior ratio. Class +1 has mean theta, class -1 mean -theta.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq, minimize
from scipy.special import ndtr

from theory.common.inputs import InputError, Radius, check_radius, check_real
from theory.gaussian.adversary import NORMS, best_direction
from theory.gaussian.normal import NODES, WEIGHTS, normal_difference, normal_interval

__all__ = [
    "Effects",
    "accuracy_disparity",
    "covariance_direction",
    "effects",
]

Array = npt.NDArray[np.float64]

PANELS = 64
"""Of the integral of an imbalance effect, with 20 nodes each."""


def covariance_direction(
    theta: npt.ArrayLike, covariance: npt.ArrayLike, eps: Radius, norm: str = "linf"
) -> tuple[Array, float, float]:
    """Return (w, m, mu) of the optimal robust direction for a full covariance S.

    w = S^-1 (theta - z), z the point of the adversary's ball nearest to theta in the norm of S^-1, and
    m = |theta - z| in that norm; mu = w.theta / sqrt(w'Sw) is its natural margin. Both are in standard
    deviations of the score. For S = sigma^2 I they are those of `theory.gaussian.adversary.best_direction`
    over sigma.

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
    eps = check_radius("eps", eps)
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

    imbalance = (
        _imbalance_effect(mu_natural, mu, margin, shift),
        _imbalance_effect(mu_natural, mu, margin, -shift),
    )
    return Effects(
        accuracies(mu_natural, mu_natural),
        accuracies(mu, margin),
        accuracies(margin, margin),
        float(normal_difference(mu, mu_natural)),
        imbalance,
    )


def _imbalance_effect(mu_natural: float, mu: float, margin: float, shift: float) -> float:
    """Return [Phi(mu - s/m) - Phi(mu)] - [Phi(mu_n - s/mu_n) - Phi(mu_n)] without their cancellation.

    With a = s / mu_n it is the sum of what the threshold's move does, Phi(mu - s/m) - Phi(mu - a), and of
    the integral of phi(x - a) - phi(x) = phi(x) expm1(a x - a^2 / 2) from mu to mu_n. For the majority
    (s < 0) both are of one sign.
    """
    a = shift / mu_natural
    # half of s/m - a = s (mu_n - m) / (m mu_n), and the middle of the two ends
    half = a * (mu_natural - margin) / margin / 2
    moved = -normal_interval(mu - a - half, half)
    if mu_natural - mu > 32:
        return float(moved) + float(
            normal_difference(mu, mu - a) - normal_difference(mu_natural, mu_natural - a)
        )
    edges = mu + (mu_natural - mu) * np.linspace(0, 1, PANELS + 1)
    width = (mu_natural - mu) / PANELS / 2
    x = (edges[:-1, None] + width * (NODES + 1)).ravel()
    density = np.where(
        a * x - a * a / 2 < 1,
        np.exp(-(x**2) / 2) * np.expm1(np.minimum(a * x - a * a / 2, 1)),
        np.exp(-((x - a) ** 2) / 2) - np.exp(-(x**2) / 2),
    )
    weights = np.tile(WEIGHTS, PANELS) * width / np.sqrt(2 * np.pi)
    # phi(x - a) - phi(x) is minus what the difference of the two brackets gains from mu to mu_n
    return float(moved) - float(density @ weights)


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
    return normal_interval(-mu, half)
