"""What logistic training converges to on the Gaussian mixture, and how far n samples may leave it.

The closed form of `theory.gaussian.optimal` minimises the 0/1 error. Nobody trains that: with the logistic
loss the bias, and with it the gap between the classes, is another one, by up to a factor of ten at
small margins. A simulation of logistic training must be compared with this module.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit, log_ndtr

from theory.common.inputs import InputError, Radius, check_radius
from theory.gaussian.linear import LinearClassifier
from theory.gaussian.mixture import GaussianMixture

__all__ = [
    "LogisticOptimum",
    "exponential_optimum",
    "hinge_optimum",
    "logistic_optimum",
    "squared_optimum",
]

Array = npt.NDArray[np.float64]

NODES = np.arange(-12, 12 + 1 / 128, 1 / 64)
"""Trapezoid nodes: its error on an analytic Gaussian integrand falls exponentially in 1 / step."""
WEIGHTS = np.exp(-(NODES**2) / 2) / np.sqrt(2 * np.pi) / 64


@dataclass(frozen=True)
class LogisticOptimum:
    """Minimiser of the population logistic loss under an l-infinity adversary of radius eps < eta.

    Args:
        mixture: the class-conditional distributions.
        eps: training radius, in units of x.
        scale: s, where the weights are s 1 / sqrt(d).
        bias: beta, the bias that goes with those weights (not divided by s).
        covariance: V, shape (2, 2): n samples with random labels give (s, beta) the covariance V / n.
        balanced_covariance: the same for n / 2 samples of each class, which is smaller: the class
            means of the score no longer add to its variance.
        orthogonal_variance: v: n samples give each of the d - 1 directions orthogonal to 1 the
            variance v / n.
    """

    mixture: GaussianMixture
    eps: float
    scale: float
    bias: float
    covariance: Array
    balanced_covariance: Array
    orthogonal_variance: float

    def linear(self) -> LinearClassifier:
        """Return the population minimiser as a classifier."""
        d = self.mixture.dim
        return LinearClassifier(np.full(d, self.scale * d**-0.5), self.bias)

    def first_order_holds(self, n: int) -> bool:
        """Say whether n samples are enough for `sample_z_scores`.

        All weights must be surely positive, five of their standard deviations from 0 where ||w||_1 has its
        kink, and the lengthening of ||w||_2 must be small. Near eps = eta neither is the case.

        Args:
            n: number of training samples, half of each class.
        """
        d, noise = self.mixture.dim, self.orthogonal_variance / n
        return self.scale / d**0.5 > 5 * noise**0.5 and (d - 1) * noise < 0.1 * self.scale**2

    def sample_z_scores(self, n: int, eps: float) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return the mean and the standard deviation of (z_+, z_-) of the classifier trained on n samples.

        First order in 1 / n: (s, beta) varies with the balanced covariance (the sandwich of
        M-estimation), and the noise orthogonal to 1 lengthens ||w||_2 by the factor 1 + (d - 1) v
        / (2 n s^2), without changing w.mean or, while all weights are positive, ||w||_1.

        Args:
            n: number of training samples, half of each class.
            eps: radius of the adversary at evaluation.
        """
        longer = 1 + (self.mixture.dim - 1) * self.orthogonal_variance / (2 * n * self.scale**2)
        means, deviations = [], []
        for z, sign, width in zip(
            self.linear().z_scores(self.mixture, eps), (-1, 1), self.mixture.scales, strict=True
        ):
            # gradient of z = (sign beta - s margin) / (width s) in (s, beta)
            gradient = np.array([-sign * self.bias / self.scale, sign]) / (width * self.scale)
            means.append(z / longer)
            deviations.append(float(np.sqrt(gradient @ self.balanced_covariance @ gradient / n)))
        return (means[0], means[1]), (deviations[0], deviations[1])


def exponential_optimum(
    margin: npt.ArrayLike, sigma: npt.ArrayLike, K: npt.ArrayLike
) -> tuple[Array, Array, Array]:
    """Return (s, b, loss) of the population exponential loss exp(-(y (w.x + b) - eps ||w||_1)).

    s = 2m / (sigma^2 (K^2 + 1)) and b = m (K^2 - 1) / (2 (K^2 + 1)) for the unit direction (ours); the loss
    is exp(-m^2 / (sigma^2 (K^2 + 1))).

    Args:
        margin: m = sqrt(d) (eta - eps) > 0; all arguments broadcast.
        sigma: standard deviation of class -1, > 0.
        K: ratio of the standard deviations, > 0.

    Raises:
        InputError: a margin is not > 0: the minimiser is then w = 0, which has no direction.
    """
    m, sigma, K = _positive_margin(margin, sigma, K)
    total = sigma**2 * (K**2 + 1)
    return 2 * m / total, m * (K - 1) * (K + 1) / (2 * (K**2 + 1)), np.exp(-(m**2) / total)


def hinge_optimum(
    margin: npt.ArrayLike, sigma: npt.ArrayLike, K: npt.ArrayLike
) -> tuple[Array, Array, Array]:
    """Return (s, b, t) of the population hinge loss max(0, 1 - (y (w.x + b) - eps ||w||_1)).

    t solves phi(t) / Phi(t) = 2m / ((K + 1) sigma); then b = -t sigma (K - 1) / 2 for the unit direction and
    1 / s = m + t sigma (K + 1) / 2 (ours).

    Args:
        margin: m > 0; all arguments broadcast.
        sigma: standard deviation of class -1, > 0.
        K: ratio of the standard deviations, > 0.

    Raises:
        InputError: a margin is not > 0.
    """
    m, sigma, K = _positive_margin(margin, sigma, K)
    target = np.log(2 * m / ((K + 1) * sigma))
    # ln(phi / Phi) is concave and falls; Newton's method from a point on its left side does not overshoot
    t = np.where(target > 0, -np.exp(np.minimum(target, 700)) - 1, -2.0)
    for _ in range(100):
        log_ratio = -(t**2) / 2 - np.log(2 * np.pi) / 2 - log_ndtr(t)
        t = t + (log_ratio - target) / (t + np.exp(log_ratio))
    return 1 / (m + t * sigma * (K + 1) / 2), -t * sigma * (K - 1) / 2, t


def squared_optimum(
    margin: npt.ArrayLike, sigma: npt.ArrayLike, K: npt.ArrayLike
) -> tuple[Array, Array, Array]:
    """Return (s, b, loss) of the natural population squared loss (1 - y (w.x + b))^2.

    s = 2 mu / (2 mu^2 + (K^2 + 1) sigma^2) and b = 0, so natural least squares does not favour the narrow
    class by its threshold (ours). There is no such form for adversarial training: the loss is not decreasing.

    Args:
        margin: mu = sqrt(d) eta > 0; all arguments broadcast.
        sigma: standard deviation of class -1, > 0.
        K: ratio of the standard deviations, > 0.

    Raises:
        InputError: a margin is not > 0.
    """
    m, sigma, K = _positive_margin(margin, sigma, K)
    total = (K**2 + 1) * sigma**2
    scale = 2 * m / (2 * m**2 + total)
    return scale, np.zeros_like(scale), total / (2 * m**2 + total)


def _positive_margin(
    margin: npt.ArrayLike, sigma: npt.ArrayLike, K: npt.ArrayLike
) -> tuple[Array, Array, Array]:
    m, sigma, K = np.broadcast_arrays(*(np.asarray(v, np.float64) for v in (margin, sigma, K)))
    if not (m > 0).all():
        raise InputError(f"the margin must be > 0, where surrogate training has a direction, got {m.min():g}")
    return m, sigma, K


def logistic_optimum(mixture: GaussianMixture, eps: Radius = 0.0) -> LogisticOptimum:
    """Return the minimiser of E ln(1 + exp(-(y (w.x + b) - eps ||w||_1))).

    The problem is convex and invariant under permutations of the coordinates, so w = s 1 / sqrt(d)
    and a convex problem in (s, beta) remains, solved by Newton's method. For eps >= eta the
    minimiser is w = 0 (Jensen's inequality), which has no direction.

    Args:
        mixture: the class-conditional distributions.
        eps: l-infinity radius at training, in units of x.

    Raises:
        InputError: eps is not a finite number in [0, eta), or Newton's method does not converge.

    >>> mixture = GaussianMixture(dim=20, eta=0.4, sigma=1.0, K=2.0)
    >>> [round(e, 4) for e in logistic_optimum(mixture, "4/25").linear().errors(mixture, "4/25").robust]
    [0.2701, 0.1783]
    """
    eps = check_radius("eps", eps)
    if eps >= mixture.eta:
        raise InputError(
            f"logistic training has a direction only for eps < eta = {mixture.eta:g}, got eps={eps:g}"
        )
    with np.errstate(all="ignore"):  # what leaves double precision is refused below
        return _solve(mixture, eps)


def _solve(mixture: GaussianMixture, eps: float) -> LogisticOptimum:
    margin = np.float64(mixture.dim**0.5 * (mixture.eta - eps))
    wide, narrow = map(np.float64, mixture.scales)
    # A row of features for each class and node: the loss is softplus(-features . (s, beta)).
    features = np.stack(
        [
            np.stack([margin + wide * NODES, np.ones_like(NODES)], axis=1),
            np.stack([margin + narrow * NODES, -np.ones_like(NODES)], axis=1),
        ]
    )
    # s of the exponential loss, exact, is a start of the right size.
    theta = _newton(np.array([2 * margin / (wide**2 + narrow**2), 0.0]), features)
    if theta is None:
        raise InputError(
            "the logistic optimum needs sqrt(d) (eta - eps) / sigma below about 15, where the classes "
            f"overlap in double precision, got {margin / narrow:.3g}, with K = {mixture.K:g}"
        )
    slope, curvature = _derivatives(theta, features)
    hessian = np.einsum("cz,z,czi,czj->ij", curvature, WEIGHTS / 2, features, features)
    score = np.einsum("cz,z,czi,czj->ij", slope**2, WEIGHTS / 2, features, features)
    means = np.einsum("cz,z,czi->ci", slope, WEIGHTS, features)  # of the score, in each class
    balanced = score - means.T @ means / 2
    inverse = np.linalg.inv(hessian)
    variances = np.array([wide, narrow]) ** 2 / 2
    orthogonal = variances @ (slope**2 @ WEIGHTS) / (variances @ (curvature @ WEIGHTS)) ** 2
    return LogisticOptimum(
        mixture=mixture,
        eps=eps,
        scale=float(theta[0]),
        bias=float(theta[1]),
        covariance=inverse @ score @ inverse,
        balanced_covariance=inverse @ balanced @ inverse,
        orthogonal_variance=float(orthogonal),
    )


def _derivatives(theta: Array, features: Array) -> tuple[Array, Array]:
    """Return the first and second derivative of softplus(-t) at every class and node."""
    p = expit(-features @ theta)
    return -p, p * (1 - p)


def _newton(theta: Array, features: Array) -> Array | None:
    """Minimise the population loss by damped Newton steps; None if they do not converge."""

    def loss(t: Array) -> float:
        return float((np.logaddexp(0, -features @ t) @ WEIGHTS).sum() / 2)

    polishing = 0  # full steps taken where the quadratic model holds to rounding
    for _ in range(200):
        slope, curvature = _derivatives(theta, features)
        gradient = np.einsum("cz,z,czi->i", slope, WEIGHTS / 2, features)
        hessian = np.einsum("cz,z,czi,czj->ij", curvature, WEIGHTS / 2, features, features)
        if not np.isfinite([*theta, *gradient, *hessian.flat]).all() or np.linalg.cond(hessian) > 1e12:
            return None
        step = np.linalg.solve(hessian, gradient)
        decrement = float(gradient @ step)
        size = 1.0
        if decrement < 1e-8 * loss(theta):
            polishing += 1
        else:
            while loss(theta - size * step) > loss(theta) - 0.1 * size * decrement and size > 1e-9:
                size /= 2
        theta = theta - size * step
        if polishing == 4:
            return theta
    return None
