"""Adversarial logistic training with n / d fixed: class errors by four scalar equations.

After Javanmard and Soltanolkotabi (2022), https://arxiv.org/abs/2010.11213, and Taheri, Pedarsani and
Thrampoulidis (2022), https://arxiv.org/abs/2010.13275; the class-dependent proximal step is ours (a heuristic
by Gordon's comparison, not a proof of uniqueness). The end of many samples is the population minimiser of
`theory.gaussian.surrogate`.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize, root
from scipy.special import expit

from theory.common.inputs import InputError, check_real
from theory.gaussian.surrogate import NODES, WEIGHTS
from theory.variants.errors import errors_at
from theory.variants.max_margin import separability_threshold

__all__ = ["LogisticLimit", "logistic_limit"]

Array = npt.NDArray[np.float64]

FIRST = 1000.0
"""alpha at which the continuation starts: the population minimiser is near enough for Newton's method."""
STEP = 0.75
"""Factor of alpha from one solution to the next."""


@dataclass(frozen=True)
class LogisticLimit:
    """The classifier in the proportional limit.

    Args:
        u: w.theta / |theta|.
        v: length of w orthogonal to theta.
        b: bias that goes with w.
        cosine: of w and theta.
        bias: b for a unit vector w.
        R_rob_plus: robust error of class +1.
        R_rob_minus: robust error of class -1.
        residual: largest absolute residual of the four equations.
    """

    u: float
    v: float
    b: float
    cosine: float
    bias: float
    R_rob_plus: float
    R_rob_minus: float
    residual: float


def logistic_limit(
    norm_theta: float, sigma: float, K: float, alpha: float, eps: float = 0.0, share: float = 0.5
) -> LogisticLimit:
    """Return the minimiser of the mean of ln(1 + exp(-(y (w.x + b) - eps |w|))) over n = alpha d samples.

    With q = |w|, Z_y = u |theta| + y b - eps q + s_y q G, p_y the proximal point of gamma s_y^2 times the
    loss at Z_y and l_y its slope there, (u, v, b, gamma) solve

        v^2 = alpha gamma^2 sum_y pi_y s_y^2 E l_y^2,
        0 = sum_y pi_y y E l_y,
        0 = sum_y pi_y E l_y (|theta| - eps u / q + s_y G u / q),
        1 / (gamma alpha) = sum_y pi_y E l_y (s_y G - eps) / q.

    Args:
        norm_theta: |theta|, > 0.
        sigma: standard deviation of class -1, > 0.
        K: ratio of the standard deviations, > 0.
        alpha: n / d, above `theory.variants.max_margin.separability_threshold`; below, the norm diverges and
            the
            classifier is the max-margin one.
        eps: l2 radius of training and of the errors, from 0 to below |theta|.
        share: of class +1 among the samples, in (0, 1).

    Raises:
        InputError: an argument is outside its domain, or alpha is too near the threshold.

    Example:
        >>> round(logistic_limit(1.5, 1.0, 2.0, 6.0, 0.3).bias, 7)
        0.0644761
    """
    limit = separability_threshold(norm_theta, sigma, K, eps, share).alpha_c
    check_real("alpha", alpha, low=0, strict=True)
    if eps >= norm_theta:
        raise InputError(f"eps must be below norm_theta = {norm_theta:g}, got {eps:g}")
    if alpha <= limit:
        raise InputError(
            f"alpha must be above {limit:g}, where the classes cannot be separated, got {alpha:g}"
        )
    equations = _Equations(norm_theta, np.array([K * sigma, sigma]), np.array([share, 1 - share]), eps)
    first = max(FIRST, 10 * alpha, 10 * limit)
    x = equations.population(first)
    # alpha falls to its value in steps that shrink near the threshold, where the norm diverges
    path = [first]
    while path[-1] > alpha:
        path.append(max(alpha, limit + STEP * (path[-1] - limit)))
    slow = x
    for i, step in enumerate(path):
        start = x if i < 2 else 2 * x - slow  # the path extrapolated
        slow, x = x, equations.solve(start, step, x)
    return equations.result(x, alpha, sigma, K)


@dataclass(frozen=True)
class _Equations:
    """The four equations in x = (ln u, ln v, b / u, ln gamma)."""

    theta: float
    widths: Array
    shares: Array
    eps: float

    def terms(self, x: Array) -> tuple[float, float, float, float, Array]:
        """Return u, v, b, gamma and the slopes l_y at every class and node."""
        u, v, gamma = (float(np.exp(x[i])) for i in (0, 1, 3))
        b, q = float(x[2]) * u, float(np.hypot(u, v))
        signs, widths = np.array([[1.0], [-1.0]]), self.widths[:, None]
        Z = u * self.theta + signs * b - self.eps * q + widths * q * NODES
        return u, v, b, gamma, _slopes(Z, gamma * widths**2)

    def residuals(self, x: Array, alpha: float) -> Array:
        """Return the residuals, each divided by its scale."""
        u, v, _, gamma, slopes = self.terms(x)
        q, widths = float(np.hypot(u, v)), self.widths
        mean, noisy = slopes @ WEIGHTS, slopes @ (WEIGHTS * NODES)
        size = self.shares @ -mean
        noise = alpha * gamma**2 * (self.shares * widths**2) @ (slopes**2 @ WEIGHTS)
        along = mean * (self.theta - self.eps * u / q) + widths * noisy * u / q
        across = widths * noisy - self.eps * mean
        return np.array(
            [
                noise / v**2 - 1,
                (self.shares * np.array([1.0, -1.0])) @ mean / size,
                self.shares @ along / (size * self.theta),
                (self.shares @ across) / q * gamma * alpha - 1,
            ]
        )

    def population(self, alpha: float) -> Array:
        """Return a start for large alpha: the population minimiser, and v and gamma to first order."""
        signs, margin = np.array([[1.0], [-1.0]]), self.theta - self.eps

        def loss(x: Array) -> tuple[float, Array]:
            Z = x[0] * (margin + self.widths[:, None] * NODES) + signs * x[1]
            slopes = -expit(-Z)
            along = self.shares @ (slopes * (margin + self.widths[:, None] * NODES) @ WEIGHTS)
            value = self.shares @ (np.logaddexp(0, -Z) @ WEIGHTS)
            return float(value), np.array([along, (self.shares * signs[:, 0]) @ (slopes @ WEIGHTS)])

        # the minimiser of the exponential loss is a start of the right size
        first = np.array([2 * margin / (self.widths**2).sum(), 0.0])
        scale, bias = minimize(loss, first, jac=True, method="BFGS", options={"gtol": 1e-9}).x
        x = np.array([np.log(scale), -20.0, bias / scale, -40.0])
        u, _, _, _, slopes = self.terms(x)
        mean, noisy = slopes @ WEIGHTS, slopes @ (WEIGHTS * NODES)
        gamma = u / (alpha * float(self.shares @ (self.widths * noisy - self.eps * mean)))
        v2 = alpha * gamma**2 * float((self.shares * self.widths**2) @ (slopes**2 @ WEIGHTS))
        return np.array([x[0], np.log(v2) / 2, x[2], np.log(gamma)])

    def solve(self, start: Array, alpha: float, other: Array) -> Array:
        """Return the solution near a start, or near another one.

        Raises:
            InputError: there is none in double precision.
        """
        for x in (start, other):
            with np.errstate(all="ignore"):
                result = root(self.residuals, x, args=(alpha,), tol=1e-15)
            size = float(np.abs(result.fun).max())
            if np.isfinite(size) and size < 1e-9:
                return np.asarray(result.x)
        raise InputError(
            f"the equations could not be solved at alpha = {alpha:g}: it is too near the threshold"
        )

    def result(self, x: Array, alpha: float, sigma: float, K: float) -> LogisticLimit:
        """Return the classifier of a solution."""
        u, v, b, _, _ = self.terms(x)
        q = float(np.hypot(u, v))
        errors = errors_at(b / q, u / q * self.theta - self.eps, sigma, K)
        residual = float(np.abs(self.residuals(x, alpha)).max())
        return LogisticLimit(u, v, b, u / q, b / q, *errors, residual)


def _slopes(Z: Array, step: Array) -> Array:
    """Return the slope -expit(-p) of the logistic loss at the proximal point p + step slope(p) = Z.

    f(p) = p - step expit(-p) - Z is concave left of 0 and convex right of it, so Newton's method from 0
    approaches its root from one side.
    """
    p = np.zeros(np.broadcast(Z, step).shape)
    for _ in range(100):
        chance = expit(-p)
        change = (p - step * chance - Z) / (1 + step * chance * (1 - chance))
        p = p - change
        if np.abs(change).max() < 1e-14 * (1 + np.abs(p).max()):
            break
    return np.asarray(-expit(-p))
