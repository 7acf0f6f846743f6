"""Biases learnt from samples of one-dimensional scores, and how far chance may leave them from theory's.

The reduction lemma makes everything but the direction a problem of scores; `sim.solvers.solve` fits
directions too.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq, minimize
from scipy.special import expit, ndtr, ndtri

from sim.learning.threshold import Thresholds
from sim.sampling.draws import stable_noise
from theory.claims.simulation import Distribution, Training

__all__ = ["Learnt", "chernoff_quantile", "draw_scores", "learn", "threshold_scale"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Learnt:
    """A learnt bias and the distribution of its distance from theory's, to first order in 1 / n.

    Args:
        bias: b for a unit weight vector; infinite for a constant classifier.
        scale: unit of that distance; 0 if nothing was learnt.
        tail: "normal", or "chernoff" for the 0/1 error, whose minimiser converges at the rate n^(-1/3).
    """

    bias: float
    scale: float
    tail: str = "normal"

    def half_width(self, alpha: float) -> float:
        """Return the distance that is exceeded with probability alpha."""
        quantile = chernoff_quantile(alpha) if self.tail == "chernoff" else -float(ndtri(alpha / 2))
        return self.scale * quantile


def draw_scores(distribution: Distribution, label: int, n: int, rng: np.random.Generator) -> Array:
    """Return n scores of a class, shape (n,)."""
    noise = rng.standard_normal(n) if distribution.alpha == 2 else stable_noise(distribution.alpha, n, rng)
    return label * distribution.margin + distribution.widths[0 if label > 0 else 1] * noise


def learn(training: Training, n: int, rng: np.random.Generator) -> Learnt:
    """Learn a bias from n samples of each class.

    Args:
        training: what to sample and how to learn.
        n: samples of each class.
        rng: source of the samples.
    """
    if training.rule == "fixed":
        return Learnt(training.bias, 0.0)
    plus, minus = (draw_scores(training.distribution, label, n, rng) for label in (1, -1))
    if training.rule == "threshold":
        return Learnt(
            Thresholds(-plus, -minus).best(training.log_odds), threshold_scale(training, n), "chernoff"
        )
    if training.rule == "equal":
        return Learnt(_equal(plus, minus), _equal_scale(training, n))
    return _fit(plus, minus, training)


def threshold_scale(training: Training, n: int) -> float:
    """Return the unit of Chernoff's distribution for the bias with the fewest weighted errors.

    It is (4 s / (n V^2))^(1/3) with the curvature V of the weighted error at the optimum and s = sum of
    omega_y^2 times the density of class y's thresholds there (Kim and Pollard, 1990); 0 for a constant.
    """
    if np.isinf(training.bias):
        return 0.0
    weights = expit(np.array([1.0, -1.0]) * training.log_odds)
    z, densities = _densities(training)
    curvature = float((-weights * densities * z / np.array(training.distribution.widths)).sum())
    return float((4 * (weights**2 * densities).sum() / (n * curvature**2)) ** (1 / 3))


def _densities(training: Training) -> tuple[Array, Array]:
    """Return z-scores at theory's bias, and the density of the thresholds of each class there."""
    widths, m, b = np.array(training.distribution.widths), training.distribution.margin, training.bias
    z = np.array([-b - m, b - m]) / widths
    return z, np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) / widths


def _equal(plus: Array, minus: Array) -> float:
    """Return the bias at which as many of one class as of the other are in error."""
    plus, minus = np.sort(plus), np.sort(minus)[::-1]
    crossed = int(np.searchsorted(plus - minus, 0))  # score k from below meets score k from above
    return -float(plus[crossed] + minus[crossed]) / 2


def _equal_scale(training: Training, n: int) -> float:
    z, densities = _densities(training)
    p = ndtr(z)
    return float(np.sqrt((p * (1 - p)).sum() / n) / densities.sum())


def _fit(plus: Array, minus: Array, training: Training) -> Learnt:
    """Minimise the mean loss of y (s score + beta) over (s, beta); the bias is beta / s."""
    signs = np.repeat([1.0, -1.0], [len(plus), len(minus)])
    features = np.stack([np.concatenate([plus, -minus]), signs], axis=1)  # y (score, 1)

    def mean_loss(theta: Array) -> tuple[float, Array]:
        values, slopes, _ = _loss(features @ theta, training.rule)
        return float(values.mean()), features.T @ slopes / len(features)

    start = np.array([1 / (training.distribution.margin + max(training.distribution.widths)), 0.0])
    if training.rule == "hinge":  # piecewise linear: no gradient at its minimum
        found = minimize(lambda t: mean_loss(t)[0], start, method="Nelder-Mead",
                         options={"xatol": 1e-9, "fatol": 1e-13, "maxiter": 2000})  # fmt: skip
    else:
        found = minimize(mean_loss, start, jac=True, method="BFGS", options={"gtol": 1e-9})
    s, beta = found.x
    covariance = _sandwich(features, found.x, training)
    gradient = np.array([-beta / s, 1.0]) / s
    return Learnt(float(beta / s), float(np.sqrt(gradient @ covariance @ gradient)))


def _loss(t: Array, rule: str) -> tuple[Array, Array, Array]:
    """Return a loss of the margins t, its slope and its curvature."""
    if rule == "logistic":
        p = expit(-t)
        return np.logaddexp(0, -t), -p, p * (1 - p)
    if rule == "exponential":
        e = np.exp(-t)
        return e, -e, e
    return np.maximum(0, 1 - t), np.where(t < 1, -1.0, 0.0), np.zeros_like(t)


def _sandwich(features: Array, theta: Array, training: Training) -> Array:
    """Return the covariance of (s, beta): H^-1 J H^-1 / n, with J within the classes, of fixed size."""
    n, half = len(features), len(features) // 2
    _, slopes, curvatures = _loss(features @ theta, training.rule)
    psi = features * slopes[:, None]
    J = (np.cov(psi[:half].T) + np.cov(psi[half:].T)) / 2
    H = (features * curvatures[:, None]).T @ features / n
    if training.rule == "hinge":  # the curvature sits at the margin 1, with the density of t there
        s, beta = theta
        for sign, width in zip((1, -1), training.distribution.widths, strict=True):
            score = (1 - sign * beta) / s
            z = (score - training.distribution.margin) / width
            density = float(np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) / (s * width))
            H = H + density / 2 * np.outer([score, sign], [score, sign])
    inverse = np.linalg.inv(H)
    return np.asarray(inverse @ J @ inverse / n)


def chernoff_quantile(alpha: float) -> float:
    """Return z with P(|Z| > z) = alpha for Z = argmax of two-sided Brownian motion minus t^2.

    From the tail of the density (Groeneboom, 1989): within 1 % for alpha up to 0.1.
    """
    zero, slope = -2.338107410459767, 0.7012108227206906  # first zero of Ai and Ai' there
    rate = -(2 ** (1 / 3)) * zero

    def excess(z: float) -> float:
        log_density = np.log(4 ** (4 / 3) * z / (2 * slope)) - 2 / 3 * z**3 - rate * z
        return float(log_density + np.log(2 / (2 * z**2 + rate)) - np.log(alpha))

    return float(brentq(excess, 0.5, 20))
