"""Two classes of equal scale and unequal priors with symmetric alpha-stable noise: Hu et al. (2023).

R = pi_- / pi_+ is the prior ratio.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.interpolate import BarycentricInterpolator
from scipy.optimize import brentq
from scipy.special import gamma, ndtr

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

Array = npt.NDArray[np.float64]


def stable_pdf(x: float, alpha: float) -> float:
    """Return the density of the symmetric alpha-stable law with characteristic function exp(-|t|^alpha).

    alpha = 2 is N(0, 2), not N(0, 1); alpha = 1 is the Cauchy law. Accurate to 1e-10 relative in both tails.

    Args:
        x: a finite number.
        alpha: index, above 0 and at most 2.

    Raises:
        InputError: an argument is outside its domain.

    Example:
        >>> round(stable_pdf(0.0, 1.0) * np.pi, 12)
        1.0
    """
    size, alpha = _checked(x, alpha)
    if alpha == 1:
        return float(1 / np.pi / (1 + size * size)) if size < 1e150 else float(1 / np.pi / size / size)
    if alpha == 2:
        return float(np.exp(-size * size / 4) / (2 * np.sqrt(np.pi)))
    if size < 1e-150:
        return float(gamma(1 + 1 / alpha) / np.pi)
    if abs(alpha - 1) < NEAR:  # the integral is that of a spike of width |alpha - 1|
        return float(np.exp(_through_cauchy(lambda a: np.log(stable_pdf(size, a)), alpha)))
    h, measure = _panels(size, alpha)
    density = np.exp(h - np.exp(np.minimum(h, 700)))
    return float(density @ measure * alpha / (np.pi * abs(alpha - 1)) / size)


def stable_cdf(x: float, alpha: float) -> float:
    """Return the distribution function of the law of `stable_pdf`, to 1e-10 relative in the lower tail.

    By Zolotarev's integral, 1 - F(x) = (1/pi) int exp(-e^h) over the angle for alpha > 1 and x > 0, and with
    1 - exp(-e^h) in its place for alpha < 1: all terms are positive. scipy's `levy_stable` is wrong by up to
    1.8e-3 near 0 and takes alpha = 1 for |alpha - 1| < 0.005.

    Args:
        x: a number, possibly infinite.
        alpha: index, above 0 and at most 2.

    Raises:
        InputError: an argument is outside its domain.

    Example:
        >>> round(stable_cdf(-1.0, 1.0), 12)
        0.25
    """
    if np.isinf(x):
        return float(x > 0)
    size, alpha = _checked(x, alpha)
    if alpha == 1:
        tail = float(np.arctan2(1, size) / np.pi)
    elif alpha == 2:
        tail = float(ndtr(-size / np.sqrt(2)))
    elif size == 0:
        tail = 0.5
    else:
        h, measure = _panels(size, alpha)
        power = np.exp(np.minimum(h, 700))
        tail = float((np.exp(-power) if alpha > 1 else -np.expm1(-power)) @ measure / np.pi)
    return 1 - tail if x > 0 else tail


NEAR = 1e-3
"""|alpha - 1| below which the density is interpolated: rounding in h costs it 1e-15 / |alpha - 1|."""
STEP = 4e-3
"""Distance of the points of that interpolation; its error is of the size of NEAR STEP^4 / 30."""
ANGLES, ANGLE_WEIGHTS = np.polynomial.legendre.leggauss(24)
ACTIVE = (-40.0, 4.5)
"""Values of h between which exp(-e^h) is neither 1 nor 0."""


def _checked(x: float, alpha: float) -> tuple[float, float]:
    """Return |x| and alpha."""
    return abs(check_real("x", float(x), low=-np.inf)), check_real(
        "alpha", float(alpha), low=0, high=2, strict=True
    )


def _through_cauchy(function: Callable[[float], float], alpha: float) -> float:
    """Return the value at alpha of the polynomial of degree 4 through 1 and two points on each side."""
    places = 1 + STEP * np.arange(-2, 3)
    # exactly 1 in the middle, where the law is Cauchy's
    return float(BarycentricInterpolator(places, [function(float(a)) for a in places])(alpha))


def _exponent(s: Array, x: float, alpha: float) -> Array:
    """Return h at tan(angle) = e^s, the angle measured from pi/2.

    e^h = (x sin a / sin((2 - alpha) pi/2 + alpha a))^(alpha / (alpha - 1)) sin((2 - alpha) pi/2 + (alpha - 1)
    a) / sin a: Zolotarev's function with its angles turned so that none cancels at the end that makes the
    tail.
    """
    angle = np.arctan(np.exp(s))
    log_sin = s - np.logaddexp(0, 2 * s) / 2
    turned = (2 - alpha) * np.pi / 2
    # sin((2 - alpha) pi/2 + alpha a) = sin(alpha (pi/2 - a)), from the nearer end
    below = np.where(s > 0, np.sin(alpha * np.arctan(np.exp(-s))), np.sin(turned + alpha * angle))
    last = np.log(np.sin(turned + (alpha - 1) * angle)) - log_sin
    return np.asarray(alpha / (alpha - 1) * (np.log(x) + log_sin - np.log(below)) + last)


def _panels(x: float, alpha: float) -> tuple[Array, Array]:
    """Return h and the measure of the angle at the nodes of panels that resolve the integrand.

    In s all functions vary on a scale of 1, but for the factor 1 / (alpha - 1) of h: panels are halved until
    h changes by at most 2 on each that is neither flat 1 nor 0.
    """

    def h(s: Array) -> Array:
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            return _exponent(s, x, alpha)

    # at large x the mass is at sin a ~ 1 / x, and further out only by powers of it; near alpha = 2 that of
    # the tail is at a ~ (2 - alpha) / x^2, where e^h ~ 1
    reach = 45 + max(0.0, float(np.log(x)) * max(1.0, alpha)) + max(0.0, -float(np.log(x)))
    reach += max(0.0, -float(np.log(2 - alpha)))
    edges = np.linspace(-reach, 45 + max(0.0, -float(np.log(x))), int(2 * (reach + 90)))
    for _ in range(60):
        values = h(edges)
        low, high = np.minimum(values[1:], values[:-1]), np.maximum(values[1:], values[:-1])
        coarse = (high - low > 2) & (low < ACTIVE[1]) & (high > ACTIVE[0])
        coarse &= np.diff(edges) > 1e-15 * np.abs(edges[1:])
        if not coarse.any():
            break
        edges = np.sort(np.append(edges, (edges[1:] + edges[:-1])[coarse] / 2))
    half = np.diff(edges)[:, None] / 2
    s = ((edges[1:] + edges[:-1])[:, None] / 2 + half * ANGLES).ravel()
    decay = np.exp(-np.abs(s))
    measure = (half * ANGLE_WEIGHTS).ravel() * decay / (1 + decay**2)  # 1 / (2 cosh s)
    keep = measure > 0
    values = h(s[keep])
    return np.where(np.isnan(values), np.inf, values), measure[keep]


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
